"""A laptop and hosts reached over ssh, all on this machine: `lab.sh` from Python."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
NEEDED = ("sshd", "ssh", "ssh-keygen", "rsync", "ip", "unshare", "nsenter", "setpriv", "mount")
SSHD = """\
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile none
"""
# Without the network: what the checkout needs is in the interpreter that runs the tests.
# And Ray notices in seconds, not minutes, that a host is gone.
BASHRC = """\
export PIP_NO_INDEX=1 PIP_NO_BUILD_ISOLATION=0 PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1
export RAY_health_check_period_ms=1000 RAY_gcs_rpc_server_reconnect_timeout_s=5
"""


def missing() -> str | None:
    """Why no lab can be set up here; None where it can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "network namespaces need root"
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    absent = [name for name in NEEDED if shutil.which(name, path=path) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (openssh-server, rsync, iproute2, util-linux)"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "ip", "link", "add", "x", "type", "bridge"],
        capture_output=True,
        text=True,
    )
    return f"namespaces are not allowed here: {tried.stderr.strip()}" if tried.returncode else None


@dataclass(frozen=True)
class Lab:
    """Commands run as on the laptop, whose home is `folder/laptop`; the hosts are 10.77.0.10 and up."""

    folder: Path
    inside: int  # the process whose namespaces are the laptop's

    def command(self, *arguments: str) -> list[str]:
        within = ["nsenter", "--target", str(self.inside), "--net", "--pid", "--mount"]
        return [*within, "env", "-C", str(ROOT), *arguments]

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return kept | {
            "HOME": str(self.folder / "laptop"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "RAY_AUTH_MODE": "token",
            "RAY_UP_enable_autoscaler_v2": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "COLUMNS": "200",
        }

    def run(self, *arguments: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def processes(self, name: str) -> list[str]:
        """The command lines that run on a host."""
        pid = (self.folder / name / "pid").read_text().strip()
        found = self.run("nsenter", "--target", pid, "--pid", "--mount", "ps", "-eo", "args")
        return found.stdout.splitlines()

    def kill(self, name: str) -> None:
        """Takes a host's power away: its first process dies, and with it all of them and its network."""
        done = self.run("kill", "-KILL", (self.folder / name / "pid").read_text().strip())
        assert done.returncode == 0, done.stdout


@contextlib.contextmanager
def lab(folder: Path, names: tuple[str, ...]) -> Iterator[Lab]:
    """Hosts that are up while the block lasts, and gone after it, whatever happened in it."""
    _keys(folder)
    for name in names:
        _host(folder / name)
    spaces = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    script = ["bash", str(Path(__file__).with_name("lab.sh")), str(folder), *names]
    with (folder / "lab.log").open("w") as log:
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *spaces, *script], stdout=log, stderr=log)
    try:
        _until_ready(folder, process)
        child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        yield Lab(folder, int(child))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _keys(folder: Path) -> None:
    (folder / "laptop" / ".ray").mkdir(parents=True)
    (folder / "laptop" / ".ray" / "auth_token").write_text(secrets.token_hex(32))
    for name in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "sshd_config").write_text(SSHD.format(folder=folder))


def _host(folder: Path) -> None:
    """A home with an empty environment that sees this interpreter's packages, as an image with torch in it would."""
    home = folder / "home"
    home.mkdir(parents=True)
    (home / ".bashrc").write_text(BASHRC)
    venv = home / ".bench"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next((venv / "lib").glob("python*/site-packages"))
    packages = Path(yaml.__file__).parents[1]
    (site / "packages.pth").write_text(f"{packages}\n")
    ray = venv / "bin" / "ray"
    ray.write_text(f"#!{venv}/bin/python\nimport sys\nfrom ray.scripts.scripts import main\nsys.exit(main())\n")
    ray.chmod(0o755)


def _until_ready(folder: Path, process: subprocess.Popen[Any]) -> None:
    for _ in range(300):
        if (folder / "ready").exists():
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(f"the hosts did not come up:\n{(folder / 'lab.log').read_text()}")
