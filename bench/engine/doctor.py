"""`bench doctor`: what is known of this machine and of each node, judged, each complaint with its remedy."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bench.errors import UserError
from bench.store.files import check_writable

OK, WARNING, ERROR = "ok", "warning", "error"
_GB = 1e9
_DISK_LOW, _DISK_OUT = 20 * _GB, 2 * _GB  # the features and encoders of a study; below the second nothing fits
_SHM_LOW = 0.5 * _GB
_FILES_LOW = 4096
_SKEW_SECONDS = 2.0
_FULL = 0.95  # of the disk of Ray's session folder: beyond it Ray takes no new objects there


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it stands, and what to do about it where something is to be done."""

    level: str  # ok, warning, error
    what: str
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class NodeFacts:
    """What one node says of itself."""

    node: str  # Ray's id
    host: str
    head: bool
    cpus: float
    gpus: float  # as Ray counts them
    torch_gpus: int | None  # as torch counts them, asked only where a GPU should be
    versions: tuple[tuple[str, str], ...]  # of python, ray, torch, bench and its code
    clock: float  # seconds that its clock is ahead of the driver's
    niceness: int
    results_free: int | None  # bytes; None where the results folder cannot be written
    results_problem: str
    seen: tuple[str, ...]  # nodes whose file it sees in the results folder
    session_full: float  # share of the disk of Ray's session folder


def machine_findings(results: Path) -> list[Finding]:
    """What can be said without Ray: interpreter, packages, devices, disk, shared memory, limits, token."""
    return [
        _python(),
        _packages(),
        _torch(),
        _results(results),
        _shared_memory(Path("/dev/shm")),  # nosec B108 # only looked at
        _open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        _token(os.environ, Path.home()),
    ]


def _python() -> Finding:
    return Finding(OK, "python", f"{platform.python_version()} at {sys.prefix}")


def _packages() -> Finding:
    """Whether what is installed is what the project asks for."""
    from packaging.requirements import Requirement

    wrong = []
    for line in metadata.requires("pretextbench") or ():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing")
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            wrong.append(f"{wanted.name} {version} is not {wanted.specifier}")
    if wrong:
        remedy = "pip install --constraint requirements.lock --editable ."
        return Finding(ERROR, "packages", "; ".join(wrong), remedy)
    return Finding(OK, "packages", f"pretextbench {metadata.version('pretextbench')}, and all it asks for")


def _torch() -> Finding:
    import torch

    count = torch.cuda.device_count()
    if count:
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(count))
        return Finding(OK, "torch", f"{torch.__version__}, {names}")
    if Path("/dev/nvidia0").exists():
        remedy = f"a driver for CUDA {torch.version.cuda}, or the torch build for the driver that is there"
        return Finding(ERROR, "torch", f"{torch.__version__} sees none of the GPUs of this machine", remedy)
    return Finding(OK, "torch", f"{torch.__version__}, no GPU, {os.cpu_count()} CPUs")


def _results(root: Path) -> Finding:
    try:
        check_writable(root)
    except UserError as error:
        return Finding(ERROR, "results", str(error), "give --results a folder that you may write to")
    return _disk("results", str(root), shutil.disk_usage(root).free)


def _disk(what: str, where: str, free: int) -> Finding:
    found = f"{where}: {free / _GB:.0f} GB free"
    remedy = "bench gc --keep 20GB, or a larger disk"
    if free < _DISK_OUT:
        return Finding(ERROR, what, found, remedy)
    return Finding(WARNING, what, found, remedy) if free < _DISK_LOW else Finding(OK, what, found)


def _shared_memory(path: Path) -> Finding:
    if not path.is_dir():
        return Finding(OK, "shared memory", "none on this system; Ray uses files")
    free = shutil.disk_usage(path).free
    found = f"{path}: {free / _GB:.1f} GB free"
    if free < _SHM_LOW:
        return Finding(
            WARNING, "shared memory", found, "in a container: docker run --shm-size=2g; else remove old files"
        )
    return Finding(OK, "shared memory", found)


def _open_files(limit: int) -> Finding:
    found = "no limit" if limit == resource.RLIM_INFINITY else f"at most {limit}"
    if limit != resource.RLIM_INFINITY and limit < _FILES_LOW:
        return Finding(WARNING, "open files", found, "ulimit -n 65536 before ray start")
    return Finding(OK, "open files", found)


def _token(environment: dict[str, str] | os._Environ[str], home: Path) -> Finding:
    if environment.get("RAY_AUTH_TOKEN"):
        return Finding(OK, "token", "in RAY_AUTH_TOKEN")
    path = Path(environment.get("RAY_AUTH_TOKEN_PATH") or home / ".ray" / "auth_token")
    if path.is_file() and path.read_text().strip():
        return Finding(OK, "token", str(path))
    if "RAY_AUTH_TOKEN_PATH" in environment:
        return Finding(ERROR, "token", f"RAY_AUTH_TOKEN_PATH: no token in {path}", "ray get-auth-token --generate")
    return Finding(OK, "token", "none yet; the first start of Ray makes one")


def node_findings(nodes: Sequence[NodeFacts], silent: Sequence[tuple[str, str]], results: Path) -> list[Finding]:
    """What the nodes say, judged: those that said nothing, versions, results folder, devices, clocks, disks.

    Args:
        silent: host of each node that did not answer, and why.
    """
    found = [_silent(host, reason) for host, reason in silent]
    found += [_resources(node) for node in nodes]
    found.append(_versions(nodes))
    found.append(_shared_results(nodes, results))
    found += [_disk("disk", f"{node.host}, {results}", node.results_free) for node in nodes if node.results_free]
    found += [finding for node in nodes for finding in (_clock(node), _session(node)) if finding is not None]
    found.append(_niceness(nodes))
    return found


def _silent(host: str, reason: str) -> Finding:
    remedy = "look at `ray status` and at /tmp/ray/session_latest/logs there; is the project installed on it?"
    return Finding(ERROR, "node", f"{host} cannot be asked: {reason}", remedy)


def _resources(node: NodeFacts) -> Finding:
    found = f"{node.host}{' (head)' if node.head else ''}: {node.cpus:g} CPUs, {node.gpus:g} GPUs"
    if node.gpus and node.torch_gpus is not None and node.torch_gpus < node.gpus:
        remedy = "a driver for this torch, or the torch build for the driver that is there"
        return Finding(ERROR, "node", f"{found}, of which torch sees {node.torch_gpus}", remedy)
    return Finding(OK, "node", found)


def _versions(nodes: Sequence[NodeFacts]) -> Finding:
    """Nodes with other versions compute other numbers, or none."""
    differing = []
    for name, _ in nodes[0].versions if nodes else ():
        hosts: dict[str, list[str]] = {}
        for node in nodes:
            hosts.setdefault(dict(node.versions)[name], []).append(node.host)
        if len(hosts) > 1:
            differing.append(f"{name}: " + ", ".join(f"{version} on {'/'.join(on)}" for version, on in hosts.items()))
    if differing:
        remedy = "the same checkout and environment on every node: `ray up` again, or rebuild the image"
        return Finding(ERROR, "versions", "; ".join(differing), remedy)
    same = ", ".join(f"{name} {version}" for name, version in nodes[0].versions) if nodes else "no node answered"
    return Finding(OK, "versions", f"the same on all: {same}")


def _shared_results(nodes: Sequence[NodeFacts], results: Path) -> Finding:
    """Every node writes there, and sees what every other has written."""
    problems = [f"{node.host}: {node.results_problem}" for node in nodes if node.results_problem]
    names = {node.node: node.host for node in nodes}
    for node in nodes:
        unseen = [host for other, host in names.items() if other not in node.seen]
        if unseen and not node.results_problem:
            problems.append(f"{node.host} does not see what {', '.join(unseen)} wrote")
    if problems:
        remedy = "mount one network file system at this path on every node, or name such a folder with --results"
        return Finding(ERROR, "results", f"{results}: {'; '.join(problems)}", remedy)
    return Finding(OK, "results", f"{results}: written and seen by {len(nodes)} node{'s' if len(nodes) != 1 else ''}")


def _clock(node: NodeFacts) -> Finding | None:
    if abs(node.clock) <= _SKEW_SECONDS:
        return None
    how = "ahead of" if node.clock > 0 else "behind"
    return Finding(WARNING, "clock", f"{node.host} is {abs(node.clock):.0f} s {how} this one", "chrony or ntp on both")


def _session(node: NodeFacts) -> Finding | None:
    if node.session_full < _FULL:
        return None
    found = f"{node.host}: the disk of Ray's session folder is {node.session_full:.0%} full"
    return Finding(WARNING, "disk", found, "remove old /tmp/ray/session_*, or ray start --temp-dir on a larger disk")


def _niceness(nodes: Sequence[NodeFacts]) -> Finding:
    levels = sorted({node.niceness for node in nodes})
    said = "/".join(str(level) for level in levels)
    return Finding(
        OK, "niceness", f"workers run at {said}; RAY_worker_niceness=0 at ray start makes others wait, not them"
    )


def auth_finding(status: int | None, dashboard: str | None) -> Finding:
    """Whether the cluster asks for a token: what its dashboard answered to a request without one."""
    remedy = "RAY_AUTH_MODE=token on every node before `ray start`, and the same ~/.ray/auth_token"
    if dashboard is None or status is None:
        return Finding(OK, "authentication", "no dashboard to ask; the token of this machine was accepted")
    if status not in (401, 403):
        return Finding(ERROR, "authentication", f"{dashboard} answers anybody who reaches it", remedy)
    if not dashboard.startswith(("127.", "localhost")):
        return Finding(
            WARNING,
            "authentication",
            f"by token, but {dashboard} is not loopback, and tokens travel as clear text",
            "ray start --dashboard-host=127.0.0.1, and `ray dashboard FILE` to look at it",
        )
    return Finding(OK, "authentication", f"by token; the dashboard is at {dashboard}")
