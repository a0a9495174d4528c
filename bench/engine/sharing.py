"""Whether all nodes of a cluster see the same results: each leaves a mark there and looks for those of the others."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.engine.cluster import first_line  # before Ray, for the environment that it sets
from bench.errors import UserError
from bench.store.marks import leave_mark, remove_marks, seen_marks
from bench.store.mirror import place_of

import ray  # isort: skip
from ray.exceptions import GetTimeoutError, RayError  # isort: skip
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # isort: skip

_ANSWER_SECONDS = 60.0  # a first task on a node starts a process


def check_shared(root: Path) -> None:
    """Refuses results that the nodes of the connected cluster do not share; one node alone always passes.

    Raises:
        UserError: a node cannot write there, or does not see what another one wrote, each named by its host.
    """
    hosts = {node["NodeID"]: str(node["NodeManagerHostname"]) for node in ray.nodes() if node["Alive"]}
    if len(hosts) < 2:
        return
    place, mark = place_of(root), f".mark-{uuid.uuid4().hex[:8]}"
    wrong = {key: said for key, said in _ask(hosts, lambda key: (leave_mark, place, mark, key)).items() if said}
    if not wrong:
        seen = _ask(hosts, lambda _: (seen_marks, place, mark, len(hosts)))
        unseen = {key: [hosts[other] for other in hosts if other not in names] for key, names in seen.items()}
        wrong = {key: f"does not see what {', '.join(others)} wrote" for key, others in unseen.items() if others}
    if not wrong:
        remove_marks(place, mark)
        return
    with contextlib.suppress(UserError):
        _ask(hosts, lambda _: (remove_marks, place, mark))
    said = "; ".join(f"{hosts[key]}: {reason}" for key, reason in wrong.items())
    raise UserError(
        f"--results {place}: not the same on all {len(hosts)} nodes ({said}); "
        "name a folder that every node shares, or an address such as s3://bucket/prefix"
    )


def _ask(hosts: dict[str, str], question: Callable[[str], tuple[Any, ...]]) -> dict[str, Any]:
    """What each node answers to a question: a function and its arguments, given the node's id."""
    asked = {}
    for key in hosts:
        function, *arguments = question(key)
        where = NodeAffinitySchedulingStrategy(key, soft=False)
        task = ray.remote(function).options(num_cpus=0, max_retries=2, scheduling_strategy=where)
        asked[key] = task.remote(*arguments)
    answers = {}
    for key, reference in asked.items():
        try:
            answers[key] = ray.get(reference, timeout=_ANSWER_SECONDS)
        except (GetTimeoutError, RayError) as error:
            raise UserError(f"node {hosts[key]}: no answer to the preflight ({first_line(error)})") from None
    return answers
