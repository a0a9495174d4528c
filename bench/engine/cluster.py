"""The Ray cluster: join the one that runs, or start one on this machine; refuse at once what no node can give."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Read by Ray when it is imported: quiet, and authenticated in every process that this one starts or joins.
_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_DEDUP_LOGS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_idle_worker_killing_time_threshold_ms": "20000",  # a process that has loaded PyTorch waits for the next trial
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a path that the user gave as relative stays so
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the study, not only the trial loop
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402
from ray.exceptions import RaySystemError  # noqa: E402

from bench.engine.stopping import rearm  # noqa: E402
from bench.errors import UserError  # noqa: E402
from bench.study.spec import Resources  # noqa: E402

# Features and weights travel by file; the object store only carries small messages.
_OBJECT_STORE_BYTES = 200 * 2**20
_ANSWER_SECONDS = 5.0
_leaving: list[threading.Thread] = []
_MOST_NODES = 1000  # of one type that are counted; without a limit, Ray says -1


@dataclass(frozen=True)
class Cluster:
    """What Ray offers: one line that says which cluster, and the resources of each node."""

    description: str
    nodes: tuple[Mapping[str, float], ...]
    node_types: tuple[Mapping[str, float], ...]  # of an autoscaler: each as often as it could start it

    def most(self, name: str) -> float:
        """Of a resource, what the cluster offers, or could when it has grown."""
        return max(sum(node.get(name, 0) for node in group) for group in (self.nodes, self.node_types))

    @property
    def cpus(self) -> float:
        return sum(node.get("CPU", 0) for node in self.nodes)

    @property
    def gpus(self) -> float:
        return sum(node.get("GPU", 0) for node in self.nodes)


@contextlib.contextmanager
def connected(address: str | None = None) -> Iterator[Cluster]:
    """Joins the cluster at `address`, else the one running on this machine, else starts one; leaves it at the end.

    Raises:
        UserError: the address does not answer, or refuses this user's token.
    """
    while _leaving:
        _leaving.pop().join()
    local = _connect(address or os.environ.get("RAY_ADDRESS"))
    rearm()  # Ray's own handlers write a stack of C++, and wait for the node to drain
    try:
        yield _describe(local)
    except BaseException:
        ray.shutdown()
        raise
    # Ray takes more than a second to end its processes; results are shown meanwhile, and this process ends behind it.
    thread = threading.Thread(target=ray.shutdown, name="bench-leave")
    _leaving.append(thread)
    thread.start()


def _connect(address: str | None) -> bool:
    """Connects; returns whether the cluster was started here."""
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    found = address or running_address()
    if found is None:
        ray.init(address="local", include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES, **options)
        return True
    if not found.startswith("ray://") and not _answers(found):
        raise UserError(f"--address {found}: nothing answers there; valid: HOST:PORT of a Ray head that is up")
    try:
        ray.init(address=found, **options)
    except (ConnectionError, RaySystemError, RuntimeError, ValueError) as error:
        # Ray says the same of a refused token and of a cluster of another version: it could not connect.
        raise UserError(
            f"Ray at {found} cannot be joined ({first_line(error)}); if its token is another one, copy it to "
            "~/.ray/auth_token or point RAY_AUTH_TOKEN_PATH at it; to start a cluster of your own, `ray stop` that one"
        ) from None
    return False


def running_address() -> str | None:
    """Address of the cluster that `ray start` left on this machine; None where there is none, or it is gone."""
    from ray._private.services import find_bootstrap_address

    address = find_bootstrap_address(None)
    return address if address and _answers(address) else None


def _answers(address: str) -> bool:
    """Whether something listens there. Ray itself would go on asking for minutes."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS):
            return True
    except (OSError, ValueError):
        return False


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _describe(local: bool) -> Cluster:
    nodes = tuple(dict(node["Resources"]) for node in ray.nodes() if node["Alive"])
    cluster = Cluster("", nodes, _autoscaler_types())
    where = "local machine" if local else f"Ray cluster, {len(nodes)} node{'s' if len(nodes) != 1 else ''}"
    size = f"{where}, {cluster.cpus:g} CPUs" + (f", {cluster.gpus:g} GPUs" if cluster.gpus else "")
    return Cluster(size, nodes, cluster.node_types)


def _autoscaler_types() -> tuple[Mapping[str, float], ...]:
    """Resources of the node types that an autoscaling cluster may add; none where nothing scales."""
    from ray._private.state import state

    try:
        config = state.get_cluster_config()
    except (AttributeError, RaySystemError):
        return ()
    groups = getattr(config, "node_group_configs", None) or ()
    counts = (_MOST_NODES if group.max_count < 0 else min(group.max_count, _MOST_NODES) for group in groups)
    return tuple(dict(group.resources) for group, count in zip(groups, counts, strict=True) for _ in range(count))


def preflight(cluster: Cluster, resources: Resources) -> None:
    """Raises:
    UserError: no node, and no node type of the autoscaler, can hold what one worker asks for.
    """
    asked = {"CPU": float(resources.cpus_per_worker), "GPU": float(resources.gpus_per_worker)}
    asked = {name: amount for name, amount in asked.items() if amount}
    offered = (*cluster.nodes, *cluster.node_types)
    if not any(_fits(asked, node) for node in offered):
        raise UserError(
            f"resources: one worker asks for {_say(asked)}, but no node offers that; "
            f"offered: {'; '.join(sorted({_say(node) for node in offered})) or 'nothing'}"
        )
    group = {name: amount * max(1, resources.workers) for name, amount in asked.items()}
    total = {name: sum(node.get(name, 0) for node in cluster.nodes) for name in group}
    if not cluster.node_types and not _fits(group, total):
        raise UserError(
            f"resources.workers: {resources.workers} workers ask for {_say(group)} together, "
            f"but the cluster has {_say(total)}"
        )


def _fits(asked: Mapping[str, float], node: Mapping[str, float]) -> bool:
    return all(node.get(name, 0) >= amount for name, amount in asked.items())


def _say(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{resources.get(name, 0):g} {name}" for name in ("CPU", "GPU") if name in resources) or "nothing"
