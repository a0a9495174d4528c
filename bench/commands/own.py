"""`--data PLACE`: a study for somebody's own images, proposed where none is named."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench.data.source import data_key
from bench.errors import UserError
from bench.store.datasets import DataRecord
from bench.store.files import check_writable, replacing
from bench.store.keys import digest_bytes
from bench.store.secrets import check_place
from bench.study.load import find_study, load_study, parse_study
from bench.study.propose import Proposal, propose
from bench.study.spec import DataSpec

if TYPE_CHECKING:
    from rich.console import Console

    from bench.study.inspection import Inspection

_STAMP = "# as proposed: "  # before the digest of the rest: a file that was edited is not written over
_KEPT = ("validation", "test", "max_train", "max_test", "on_error", "upstream")  # of a study whose data are replaced


def chosen_study(
    study: str | None,
    data: str | None,
    minutes: float | None,
    overrides: Sequence[str],
    root: Path,
    console: Console,
    *,
    reads: bool,
) -> tuple[str | None, list[str]]:
    """The study to run and its overrides, once `--data` and `--minutes` have had their say.

    Args:
        study: file or name; None: one is proposed for `data`, or it is the quick start.
        data: a place as `bench.data.inspect` takes it.
        minutes: that a proposed study may take.
        overrides: of the command line.
        root: the results folder, where a proposed study is written.
        console: where the proposal is shown.
        reads: whether images may be read to know the budgets exactly; else headers and counts must do.

    Raises:
        UserError: the data cannot be used, `minutes` without a study to propose.
    """
    if minutes is not None and (data is None or study is not None):
        raise UserError("--minutes: fits a study that bench proposes; valid: with --data and without STUDY")
    if data is None:
        return study, list(overrides)
    check_place("--data", data)
    if study is not None:
        return study, [_replaced(study, data), *overrides]
    from bench.data.inspect import inspect_data

    check_writable(root)
    inspection = inspect_data(data)
    name = f"own-{_named(data)}"
    path, proposal, notes = _write(name, inspection, minutes, overrides, root, console, reads)
    for line in [*notes, *proposal.describe()]:
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"written to {path}", highlight=False, markup=False, soft_wrap=True)
    change = "change it with --set KEY=VALUE (such as simclr.epochs=50), --minutes N, or edit the file and run it"
    console.print(f"{change}\n", highlight=False, markup=False, soft_wrap=True)
    return str(path), list(overrides)


def _write(
    name: str,
    inspection: Inspection,
    minutes: float | None,
    overrides: Sequence[str],
    root: Path,
    console: Console,
    reads: bool,
) -> tuple[Path, Proposal, tuple[str, ...]]:
    """Proposes, reads the images where that is allowed, and writes the study file; with how the images were read."""
    from bench.study.inspection import Machine

    machine = Machine.here()
    console.print(f"{inspection.describe()}; {machine.describe()}", highlight=False, markup=False, soft_wrap=True)
    proposal = propose(name, inspection, machine, minutes)
    path = _save(proposal.raw, root)
    spec = load_study(path, overrides).data
    known = _record(spec, inspection, root, console, reads)
    if known is None:
        return path, proposal, inspection.notes
    proposal = propose(name, inspection, machine, minutes, known.pool_counts)
    return _save(proposal.raw, root), proposal, known.notes


def _record(spec: DataSpec, inspection: Inspection, root: Path, console: Console, reads: bool) -> DataRecord | None:
    record = DataRecord.load(root, data_key(spec))
    if record is not None or not reads:
        return record
    from bench.data.catalog import open_dataset

    console.print(f"reading {inspection.images:,} images", highlight=False)
    open_dataset(spec, root)
    return DataRecord.load(root, data_key(spec))


def _save(raw: dict[str, Any], root: Path) -> Path:
    """Writes a proposed study under its name; beside a file of that name that somebody has edited."""
    parse_study(raw, raw["study"])
    body = yaml.safe_dump(raw, sort_keys=False, allow_unicode=True, width=100)
    number = 1
    while True:
        name = raw["study"] if number == 1 else f"{raw['study']}-{number}"
        path = root / "studies" / f"{name}.yaml"
        if not path.exists() or _untouched(path):
            break
        number += 1
    text = f"# {raw['description']}\n#\n#   bench run {path}\n#\n{_STAMP}{digest_bytes(body.encode())}\n{body}"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _untouched(path: Path) -> bool:
    _, found, rest = path.read_text(encoding="utf-8").partition(_STAMP)
    digest, _, body = rest.partition("\n")
    return bool(found) and digest == digest_bytes(body.encode())


def _named(data: str) -> str:
    """A name for the study: the last part of the place that says something."""
    parts = [part for part in re.split(r"[/\\:]", data.rstrip("/\\")) if part not in ("", ".", "..")]
    last = re.sub(r"\.(csv|tsv|parquet|pq|json|tar)$", "", parts[-1]) if parts else ""
    if not parts:
        last = Path(data).expanduser().resolve().name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-.")[:60] or "images"


def _replaced(study: str, data: str) -> str:
    """The override that gives a study other images, at the image size that it names."""
    from bench.data.inspect import inspect_data

    known, found = load_study(find_study(study)).data, inspect_data(data)
    spec = {"name": found.kind, **({} if found.root is None else {"root": found.root})}
    if known.image_size is not None or found.size is None:
        spec["image_size"] = known.image_size or 32
    spec |= known.model_dump(include=set(_KEPT), exclude_defaults=True)
    return f"data={json.dumps(spec)}"
