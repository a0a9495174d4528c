"""A pruned search on a Ray of its own, of trials that load nothing: `python -m tests.engine.climbing RESULTS`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from bench.engine.cluster import connected  # before Ray, for the environment that it sets

import ray  # isort: skip

from bench.engine import work
from bench.engine.search import run_searches
from bench.engine.slot import Slot, Standing
from bench.store.artifacts import Artifacts
from bench.study.plan import Search, TrialRecord
from tests.engine.test_trial import SPEC, prepared


def climbing(slot: Slot, before: Standing | None) -> Standing:
    """Where a trial stands: the first is the best. Says with what its last stretch ran."""
    key = f"{slot.number:032d}"
    Artifacts(slot.site.root).path("checkpoints", key).mkdir(parents=True, exist_ok=True)
    if before is not None:
        resources = ray.get_runtime_context().get_assigned_resources()
        said = {"fork": os.environ.get("PL_DISABLE_FORK"), "resources": resources}
        (slot.site.root / "said.json").write_text(json.dumps(said))
    state = "running" if before is None else "complete"
    return Standing(-float(slot.number), 2 if before is None else 4, state, None, 1.0, key)


def main(root: Path) -> None:
    study, record, site, searches = prepared(root, search=SPEC["search"] | {"pruner": "asha"})
    states: dict[str, list[str]] = {}

    def on_trial(search: Search, made: TrialRecord) -> None:
        states.setdefault(search.key, []).append(made.state)

    work.stretch = climbing
    with connected():
        lost = run_searches(study, record, site, searches, 2, on_trial)
    print(json.dumps({"lost": lost, "states": list(states.values())}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
