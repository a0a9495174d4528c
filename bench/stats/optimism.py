"""The optimism of selecting on the test set: best on test minus test at the selection."""

from __future__ import annotations

import polars as pl

from bench.errors import unknown
from bench.stats.curves import curves

COLUMNS = ("entrant", "seed", "draw", "label_budget", "n_labels", "candidate", "selection_score", "test_score")


def optimism_gap(candidates: pl.DataFrame, *, level: float = 0.95) -> pl.DataFrame:
    """How much reporting the best candidate on test data would have flattered each entrant at each budget.

    Run it on sealed rows, after the selection is fixed, into a table of its own.

    Args:
        candidates: one row a candidate of a cell: entrant, seed, draw, label_budget, n_labels, candidate (its name),
            selection_score (what the selection saw, higher is better), test_score. Of candidates that tie on the
            selection score, the mean test score counts.
        level: confidence level.

    Returns:
        The columns of `curves` with gap instead of score (crossed jackknife-t over seeds and draws), and best_on_test,
        at_selection, n_candidates (means over cells).

    Raises:
        UserError: a column is missing.
    """
    for column in COLUMNS:
        if column not in candidates.columns:
            raise unknown("column of the candidates", column, candidates.columns)
    cell = ["entrant", "seed", "draw", "label_budget", "n_labels"]
    chosen = pl.col("selection_score") == pl.col("selection_score").max()
    cells = (
        candidates.unique()
        .group_by(cell)
        .agg(
            best_on_test=pl.col("test_score").max(),
            at_selection=pl.col("test_score").filter(chosen).sort().mean(),
            n_candidates=pl.col("candidate").n_unique(),
        )
    )
    cells = cells.with_columns(gap=pl.col("best_on_test") - pl.col("at_selection"))
    gaps = curves(cells, None, metric="gap", level=level).rename({"score": "gap"})
    means = (
        cells.sort(cell)
        .group_by("entrant", "label_budget")
        .agg(pl.col("best_on_test", "at_selection", "n_candidates").mean())
    )
    return gaps.join(means, on=["entrant", "label_budget"], how="left", maintain_order="left")
