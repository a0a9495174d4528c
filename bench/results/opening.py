"""Opening a results root: which studies it holds, and the rows, test items and reference of one of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from bench.errors import UserError, unknown
from bench.results.entrants import DEFAULT_REFERENCE, IDENTITY, check_reference, match_reference, with_entrants
from bench.stats.layout import Layout, layout
from bench.store.files import read_json
from bench.store.fragments import Fragments
from bench.store.mirror import place_of

# What a leaderboard may be ranked by: of all of them, more is better. The first that a study has is its default.
METRICS = (
    *("balanced_accuracy", "miou", "exact_ratio"),  # of classification, segmentation, episodes
    *("accuracy", "macro_f1", "macro_auroc", "mean_specificity", "combined", "pixel_accuracy", "boundary_f1"),
)
_COST = ("pretrain_seconds", "gpu_seconds", "search_seconds", "parameters", "bytes_added")
_PROVENANCE = ("numerical_versions", "source_hash", "status", "reason", "finished")
_CELL = ("row_key", "pretrain_key", "split_digest", "seed", "label_budget", "n_labels", "n_selection_labels", "draw")
_TEST = ("n_test", "correct", "details")
NEEDED = (*_CELL, *_TEST, *IDENTITY, *METRICS, *_COST, *_PROVENANCE)
_ARRANGING = threading.Lock()  # many readers of a dashboard: one at a time needs the memory, none does it twice
_ITEMS = pl.Schema({"item": pl.Int64, "label": pl.Int64, "group": pl.Int64})


class NoResultsError(UserError):
    """Nothing to show yet: no folder, no rows. Everything else that is wrong is a plain UserError."""


@dataclass(frozen=True)
class Study:
    """One manifest: what was asked, on which data, and the keys of the rows that answer it."""

    key: str
    name: str
    created: str  # ISO 8601
    spec: Mapping[str, Any]
    data: Mapping[str, Any]
    row_keys: tuple[str, ...]
    search_keys: tuple[str, ...]
    updated: str = ""  # when it was run last, ISO 8601

    @property
    def reference(self) -> tuple[str, ...]:
        """The names that labels saved are measured against."""
        return tuple(self.spec.get("reference") or DEFAULT_REFERENCE)


@dataclass(frozen=True)
class Opened:
    """The results of one study, ready for the statistics.

    Attributes:
        rows: one row per measurement, the columns of NEEDED and `entrant`; failed units included.
        items: the test items [item, label, group], in the order of the rows' bitmaps.
        reference: entrants that labels saved are measured against; empty while none of them has rows.
        reference_names: what they were called in the study, or by the user.
        promised: how many rows the study names, those that are not there yet included.
    """

    study: Study | None
    rows: pl.DataFrame
    items: pl.DataFrame
    reference: tuple[str, ...]
    reference_names: tuple[str, ...]
    promised: int
    _layouts: dict[str, Layout] = field(default_factory=dict, repr=False, compare=False)

    @property
    def test_items(self) -> pl.DataFrame | None:
        """The test items, or None where the split table is missing: intervals then have no test term."""
        return self.items if self.items.height else None

    def scored(self, metric: str) -> pl.DataFrame:
        """The rows that may enter statistics: status ok, and measured in this metric."""
        return self.rows.filter(pl.col("status") == "ok", pl.col(metric).is_not_null())

    def layout(self, metric: str) -> Layout:
        """The scored rows arranged for the statistics: bitmaps are scored once, whatever is asked of them.

        Raises:
            UserError: as `bench.stats.layout.layout`.
        """
        with _ARRANGING:
            if metric not in self._layouts:
                self._layouts[metric] = layout(self.scored(metric), self.test_items, metric=metric)
            return self._layouts[metric]


def studies(root: Path) -> list[Study]:
    """Every readable manifest under the root, the one run last first; a half-written one is left out."""
    manifests = (read_json(path) for path in sorted((Path(root) / "studies").glob("*.json")))
    found = [parse_study(manifest) for manifest in manifests if isinstance(manifest, dict) and "study_key" in manifest]
    return sorted(found, key=lambda study: (study.updated, study.key), reverse=True)


def find_study(root: Path, wanted: str | None = None) -> Study | None:
    """The study of this name or key (or the key's first eight digits or more); the newest where several match.

    Raises:
        UserError: no study is called so.
    """
    found = studies(root)
    if wanted is None:
        return found[0] if found else None
    for study in found:
        if wanted in (study.key, study.name) or (len(wanted) >= 8 and study.key.startswith(wanted)):
            return study
    raise unknown("study", wanted, {study.name for study in found}, "--study")


def open_results(root: Path, study: str | None = None, *, reference: Sequence[str] | None = None) -> Opened:
    """Reads the rows of one study, lazily and only the columns that a leaderboard needs.

    Args:
        study: name or key; None means the newest. Without any manifest, all rows on the split written to last.
        reference: replaces the reference that the study names.

    Raises:
        NoResultsError: the root does not exist, or holds no rows.
        UserError: it cannot be read, or was written by a newer version.
    """
    root = Path(root)
    if not root.is_dir():
        raise NoResultsError(f"--results {root}: no such folder; run a study first, or name the folder it wrote to")
    manifest = find_study(root, study)
    rows = read_rows(root, manifest)
    if rows.is_empty():
        raise NoResultsError(_no_rows(root, manifest))
    items = read_items(split_path(root, rows))
    return assemble(rows, items, manifest, reference)


def assemble(
    rows: pl.DataFrame, items: pl.DataFrame, study: Study | None, reference: Sequence[str] | None = None
) -> Opened:
    """Rows and test items, wherever they were read from, ready for the statistics.

    Raises:
        UserError: a name in `reference` matches no entrant.
    """
    rows = with_entrants(rows)
    match = check_reference if reference else match_reference
    names = tuple(reference) if reference else study.reference if study else DEFAULT_REFERENCE
    return Opened(study, rows, items, match(names, rows), names, len(study.row_keys) if study else rows.height)


def read_rows(root: Path, study: Study | None, columns: Sequence[str] = NEEDED) -> pl.DataFrame:
    """The rows of a study, only the columns asked for; without a study, those on the split written to last.

    Raises:
        UserError: the rows cannot be read, or were written by a newer version.
    """
    fragments = Fragments(root, "rows")
    try:
        fragments.check_readable()
        if study is not None:
            return fragments.read(lambda frame: frame.select(columns), study.row_keys)
        rows = fragments.read(lambda frame: frame.select(columns))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{fragments.folder}: the rows cannot be read ({type(error).__name__}: {error})") from None
    last = rows.sort("finished", nulls_last=False)["split_digest"].tail(1)
    return rows.filter(pl.col("split_digest").is_in(last.implode()))


def split_path(root: Path, rows: pl.DataFrame) -> Path:
    """Where the split table of these rows lies."""
    return root / "splits" / f"{rows['split_digest'][0]}.parquet"


def read_items(path: Path) -> pl.DataFrame:
    """The test items [item, label, group] of a split table, in item order.

    Empty where the table is missing: statistics then know no test items.

    Raises:
        UserError: the split table cannot be read.
    """
    if not path.is_file():
        return pl.DataFrame(schema=_ITEMS)
    try:
        table = pl.scan_parquet(path).filter(pl.col("split") == "test")
        return table.select(pl.col(name).cast(dtype) for name, dtype in _ITEMS.items()).sort("item").collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path}: the split table cannot be read ({type(error).__name__})") from None


def _no_rows(root: Path, manifest: Study | None) -> str:
    if manifest is None:
        return f"--results {place_of(root)}: no results here yet; run a study first, or name the folder it wrote to"
    return f"study {manifest.name!r} in {place_of(root)}: none of its {len(manifest.row_keys)} rows is finished yet"


def parse_study(manifest: Mapping[str, Any]) -> Study:
    """A manifest as a Study; only `study_key` must be there."""
    return Study(
        key=str(manifest["study_key"]),
        name=str(manifest.get("study", manifest["study_key"])),
        created=str(manifest.get("created", "")),
        spec=manifest.get("spec") or {},
        data=manifest.get("data") or {},
        row_keys=tuple(manifest.get("row_keys") or ()),
        search_keys=tuple(manifest.get("search_keys") or ()),
        updated=str(manifest.get("updated") or manifest.get("created", "")),
    )
