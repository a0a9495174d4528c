"""The manifest: a study names its rows; the rows belong to no study."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from bench.store.files import read_json, write_json
from bench.store.trials import read_trials
from bench.study.plan import Plan, TrialRecord, study_key


def write_manifest(root: Path, plan: Plan) -> str:
    """Writes `<root>/studies/<study key>.json` and returns the key; the time of the first writing is kept."""
    key = study_key(plan.study)
    path = root / "studies" / f"{key}.json"
    before = read_json(path)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = {
        "study_key": key,
        "study": plan.study.study,
        "spec": plan.study.as_json(),
        "data": plan.record.as_json(),
        "row_keys": plan.row_keys(),
        "search_keys": [search.key for search in plan.searches],
        "created": before["created"] if isinstance(before, dict) and "created" in before else now,
        "updated": now,
    }
    write_json(path, manifest)
    return key


def trial_records(root: Path) -> dict[str, tuple[TrialRecord, ...]]:
    """What the store holds of finished trials, as the plan reads it."""
    return {
        key: tuple(TrialRecord(r["number"], r["parameters"], r["value"], r["state"], r["seconds"]) for r in records)
        for key, records in read_trials(root).items()
    }
