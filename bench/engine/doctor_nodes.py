"""What `bench doctor` asks each node of a Ray cluster, by one small task there."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess  # nosec B404 # no shell, arguments as lists
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.engine.cluster import connected, running_address  # before Ray, for the environment that it sets
from bench.engine.doctor import OK, Finding, NodeFacts, auth_finding, node_findings
from bench.store.keys import content_key
from bench.store.marks import leave_mark, remove_marks, seen_marks
from bench.store.mirror import open_place, place_of
from bench.study.lineage import current_sources

import ray  # isort: skip
from ray.exceptions import GetTimeoutError, RayError  # isort: skip
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # isort: skip

_ANSWER_SECONDS = 60.0  # a first task on a node starts a process and imports torch
_COUNT = "import torch; print(torch.cuda.device_count())"


def cluster_findings(address: str | None, results: Path) -> list[Finding]:
    """Looks at the cluster at `address`, else at the one that runs on this machine.

    Raises:
        UserError: the address does not answer, or refuses this user's token.
    """
    found = address or os.environ.get("RAY_ADDRESS") or running_address()
    if found is None:
        return [Finding(OK, "cluster", "none runs on this machine; `bench run` starts one for as long as it needs it")]
    with connected(found) as cluster:
        facts, silent = _ask_nodes(place_of(results.resolve()))
        dashboard = ray._private.worker.global_worker.node.address_info.get("webui_url") or None
        return [
            Finding(OK, "cluster", f"{found}: {cluster.description}"),
            auth_finding(_status(dashboard), dashboard),
            *node_findings(facts, silent, results.resolve()),
        ]


def _ask_nodes(results: str) -> tuple[list[NodeFacts], list[tuple[str, str]]]:
    """Facts of the nodes that answer; host and reason of those that do not."""
    mark = f".doctor-{uuid.uuid4().hex[:8]}"
    alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
    try:
        facts, lost = _answers(
            {key: _on(key, _facts).remote(node["Resources"], results, mark, key) for key, node in alive.items()}
        )
        written = sum(not fact.results_problem for fact in facts.values())
        seen, lost_later = _answers({key: _on(key, seen_marks).remote(results, mark, written) for key in facts})
        silent = [(alive[key]["NodeManagerHostname"], reason) for key, reason in (lost | lost_later).items()]
        return [replace(facts[key], seen=seen[key], clock=_skew(key)) for key in seen], silent
    finally:
        remove_marks(results, mark)


def _answers(asked: dict[str, ray.ObjectRef]) -> tuple[dict[str, Any], dict[str, str]]:
    """By node: what came back in time, and why the rest did not."""
    answers, lost = {}, {}
    until = time.monotonic() + _ANSWER_SECONDS
    for node, reference in asked.items():
        try:
            answers[node] = ray.get(reference, timeout=max(1.0, until - time.monotonic()))
        except GetTimeoutError:
            lost[node] = "no answer in time"
        except RayError as error:
            lost[node] = _last_line(error)
    return answers, lost


def _last_line(error: RayError) -> str:
    """Of a traceback from afar, what went wrong."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]


def _on(node: str, function: Callable[..., Any]) -> Any:
    """A task that runs on this node or nowhere."""
    where = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(function).options(num_cpus=0, max_retries=0, scheduling_strategy=where)


def _facts(resources: dict[str, float], results: str, mark: str, node: str) -> NodeFacts:
    """Runs on the node."""
    import torch

    problem = leave_mark(results, mark, node)
    free = None if problem else shutil.disk_usage(open_place(results, fresh=False)).free
    session = shutil.disk_usage(ray._private.worker.global_worker.node.get_session_dir_path())
    versions = {
        "python": platform.python_version(),
        "ray": ray.__version__,
        "torch": torch.__version__,
        "code": content_key("code", sources=sorted(current_sources()))[:8],
    }
    gpus = resources.get("GPU", 0)
    return NodeFacts(
        node=node,
        host=socket.gethostname(),
        head="node:__internal_head__" in resources,
        cpus=resources.get("CPU", 0),
        gpus=gpus,
        torch_gpus=_torch_gpus() if gpus else None,
        versions=tuple(versions.items()),
        clock=0.0,
        niceness=os.nice(0),
        results_free=free,
        results_problem=problem,
        seen=(),
        session_full=session.used / session.total,
    )


def _now() -> float:
    return time.time()


def _skew(node: str) -> float:
    """Seconds that a node's clock is ahead, at least: what the way there and back may explain is taken off."""
    before = time.time()
    answers, _ = _answers({node: _on(node, _now).remote()})
    after = time.time()
    there = answers.get(node, before)
    return min(0.0, there - before) + max(0.0, there - after)


def _torch_gpus() -> int:
    """Asked in a process of its own: Ray hides the GPUs from a task that was given none."""
    visible = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, env=visible)  # nosec B603 # a constant
    return int(done.stdout.strip() or 0) if done.returncode == 0 else 0


def _status(dashboard: str | None) -> int | None:
    """What the dashboard answers to a request without a token; None where it does not answer."""
    if dashboard is None:
        return None
    try:
        with urllib.request.urlopen(f"http://{dashboard}/api/jobs/", timeout=5) as answer:  # nosec B310 # http, Ray's own
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None
