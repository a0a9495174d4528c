"""From rows to numbers: one array of scores per entrant, [seeds, draws, budgets, views of the test items]."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from bench.errors import UserError, unknown
from bench.stats.arrays import FloatArray, IntArray
from bench.stats.items import TestItems, read_items, view_scores
from bench.stats.left_out import LEFT_OUT, with_left_out

BITMAP_METRICS = ("accuracy", "balanced_accuracy")
LOWER_IS_BETTER = ("nll", "ece")
CELL = ("entrant", "seed", "draw", "label_budget")
ALL = "all"


@dataclass(frozen=True)
class Scores:
    """What one entrant scored.

    seeds: numbers of the seeds, (None,) for an entrant that has none. draws: numbers of the draws; () for an entrant
    measured with budget "all" alone. budgets, labels [B]: ascending in labels, selection labels counted. shared [B]:
    whether one draw serves every draw. values [S, max(D, 1), B, 1 + G]: score on all test items, then on all but block
    g; NaN where not measured.
    """

    entrant: str
    seeds: tuple[int | None, ...]
    draws: tuple[int, ...]
    budgets: tuple[str, ...]
    labels: FloatArray
    shared: tuple[bool, ...]
    values: FloatArray

    @property
    def seedless(self) -> bool:
        return self.seeds == (None,)

    def only(self, budgets: Collection[str]) -> Scores:
        """The scores at these label budgets alone."""
        at = [i for i, budget in enumerate(self.budgets) if budget in budgets]
        names, shared = tuple(self.budgets[i] for i in at), tuple(self.shared[i] for i in at)
        draws = () if all(shared) else self.draws
        values = self.values[:, : max(len(draws), 1), at]
        return Scores(self.entrant, self.seeds, draws, names, self.labels[at], shared, values)


@dataclass(frozen=True)
class Layout:
    """Every entrant's scores on one metric.

    grouping: of the test items, "own groups" or "blocks" where bitmaps are scored, "in rows" where every row brings its
    leave-one-out scores, else "none". bounded: every score lies in [0, 1].
    """

    metric: str
    scores: dict[str, Scores]
    grouping: str
    bounded: bool

    @property
    def sign(self) -> float:
        """+1 where higher is better, -1 where lower is."""
        return -1.0 if self.metric in LOWER_IS_BETTER else 1.0

    def only(self, budgets: Collection[str]) -> Layout:
        """The scores at these label budgets alone, of the entrants that have any."""
        kept = {name: scores.only(budgets) for name, scores in self.scores.items()}
        return replace(self, scores={name: scores for name, scores in kept.items() if scores.budgets})

    def require(self, *entrants: str) -> None:
        """Raise UserError for an entrant that has no rows."""
        for entrant in entrants:
            if entrant not in self.scores:
                raise unknown("entrant", entrant, self.scores)


def layout(rows: pl.DataFrame | Layout, items: pl.DataFrame | None, *, metric: str) -> Layout:
    """Arrange rows for the statistics; row order, duplicates and entrant names change no number.

    Args:
        rows: a layout, which is returned as it is: several statistics of the same rows score the bitmaps once; or a
            frame with the columns entrant, seed (null: has none), draw, label_budget, n_labels, the metric or `correct`
            with n_test; optional n_selection_labels (added to the labels) and status (only "ok" counts).
        items: the test items (item, label, group), or None to go without a test term.
        metric: "accuracy" or "balanced_accuracy" (recomputed from the bitmaps where all rows have one), or any numeric
            column, where null, NaN and infinity count as not measured. Its test term comes from `details`, where every
            row holds an `item_jackknife` of the metric: the scores without each block of test images in turn.

    Raises:
        UserError: a column is missing; one cell holds two different scores; a bitmap does not fit the test items.
    """
    if isinstance(rows, Layout):
        return rows
    bitmaps = metric in BITMAP_METRICS and items is not None and "correct" in rows.columns
    bitmaps = bitmaps and _counted(rows)["correct"].null_count() == 0
    test_items = read_items(items) if bitmaps and items is not None else None
    if test_items is None and items is not None:
        rows = with_left_out(rows, metric)
    cells = _cells(rows, "correct" if test_items else metric)
    values = _scored(cells, test_items, metric)
    scores = {}
    for (entrant,), part in cells.with_row_index("at").group_by(["entrant"], maintain_order=True):
        scores[str(entrant)] = _arrange(str(entrant), part, values[part["at"].to_numpy()])
    bounded = bool(((values >= 0) & (values <= 1)).all())
    grouping = test_items.grouping if test_items else "in rows" if LEFT_OUT in cells.columns else "none"
    return Layout(metric, scores, grouping, bounded)


def _counted(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("status") == "ok") if "status" in rows.columns else rows


def _cells(rows: pl.DataFrame, content: str) -> pl.DataFrame:
    """One row a cell, sorted: entrant, seed, draw, label_budget, labels and the content column."""
    for column in (*CELL, "n_labels", content):
        if column not in rows.columns:
            raise unknown("column of the rows", column, rows.columns)
    if content in CELL:
        raise UserError(f"metric: column {content!r} says which cell it is, not its score")
    selection = pl.col("n_selection_labels").fill_null(0) if "n_selection_labels" in rows.columns else pl.lit(0)
    labels = (pl.col("n_labels") + selection).cast(pl.Float64).alias("labels")
    beside = [name for name in ("n_test",) if content == "correct"]
    beside += [name for name in (LEFT_OUT,) if name in rows.columns]
    if content != "correct" and not rows[content].dtype.is_numeric():
        raise UserError(f"metric: column {content!r} is {rows[content].dtype}, not numeric")
    score = pl.col(content) if content == "correct" else pl.col(content).cast(pl.Float64)
    measured = score.is_not_null() if content == "correct" else score.is_finite()
    cells = _counted(rows).select(*CELL, labels, *beside, score).filter(measured).unique()
    twice = cells.filter(cells.select(*CELL).is_duplicated()).sort(*CELL)
    if len(twice):
        cell = ", ".join(f"{key}={twice[key][0]}" for key in CELL)
        raise UserError(
            f"rows: two different measurements of one cell ({cell}); filter them or name what differs in the entrant"
        )
    return cells.sort(*CELL)


def _scored(cells: pl.DataFrame, items: TestItems | None, metric: str) -> FloatArray:
    """Score of each cell on every view of the test items, [rows, 1 + G]; one view where nothing tells of items."""
    if items is None:
        whole = cells[metric].to_numpy()[:, None]
        return np.hstack([whole, np.array(cells[LEFT_OUT].to_list())]) if LEFT_OUT in cells.columns else whole
    sizes = cells["n_test"].unique().to_list()
    if sizes != [len(items)] and len(cells):
        raise UserError(f"n_test: rows were scored on {sizes} test items, the items table has {len(items)}")
    return view_scores(cells["correct"].to_list(), items, metric)


def _arrange(entrant: str, part: pl.DataFrame, scored: FloatArray) -> Scores:
    """Scatter the rows of one entrant, [rows, V] -> [S, D, B, V]."""
    seeds = tuple(sorted(part["seed"].unique().to_list(), key=lambda seed: (seed is not None, seed)))
    if len(seeds) > 1 and seeds[0] is None:
        raise UserError(f"rows: entrant {entrant!r} has rows with a seed and rows without")
    everyone = _shared_draw(part)
    draws = tuple(sorted(part.filter(~everyone)["draw"].unique().to_list()))
    sizes = part.group_by("label_budget").agg(pl.col("labels").mean()).sort("labels", "label_budget")
    budgets = tuple(sizes["label_budget"].to_list())
    values = np.full((len(seeds), max(len(draws), 1), len(budgets), scored.shape[1]), np.nan)
    at_seed, at_draw = _places(part["seed"], seeds), _places(part["draw"], draws)
    at_budget = _places(part["label_budget"], budgets)
    shared = everyone.to_numpy()
    values[at_seed[~shared], at_draw[~shared], at_budget[~shared]] = scored[~shared]
    for seed, budget, score in zip(at_seed[shared], at_budget[shared], scored[shared], strict=True):
        values[seed, :, budget] = score
    shares = tuple(budget == ALL and bool(everyone.any()) for budget in budgets)
    return Scores(entrant, seeds, draws, budgets, sizes["labels"].to_numpy(), shares, values)


def _places(values: pl.Series, order: Sequence[object]) -> IntArray:
    """Where each value stands in the order; 0 for one that is not there."""
    place = {value: at for at, value in enumerate(order)}
    return np.array([place.get(value, 0) for value in values], dtype=np.int64)


def _shared_draw(part: pl.DataFrame) -> pl.Series:
    """Rows whose one draw serves all draws: those of budget "all"."""
    everyone = part["label_budget"] == ALL
    return everyone if part.filter(everyone)["draw"].n_unique() == 1 else everyone & False
