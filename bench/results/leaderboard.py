"""The leaderboard: each entrant's score, labels saved, rank, replicates, cost and what to know before trusting it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench.errors import UserError, unknown
from bench.results.entrants import IDENTITY, axes_text
from bench.results.majority import majority, majority_text
from bench.results.opening import METRICS, Opened, Study, open_results
from bench.results.provenance import Code, tags
from bench.results.scoring import UNSCORED, budgets_within, common_span, points, saved, scores
from bench.results.spending import spending
from bench.results.text import count_text, list_text, metric_text
from bench.stats.curves import curves
from bench.stats.label_efficiency import AT_BUDGET, labels_saved

COLUMNS = (
    *("entrant", "method", "axes", "encoder", "protocol", "layer", "fuse", "partner", "is_reference"),
    *("place", "rank_low", "rank_high", "coverage", "score", "score_low", "score_high", "score_mark", "budgets"),
    *("saved", "saved_low", "saved_high", "saved_censored", "saved_mark", "saved_reason", "seeds", "draws"),
    *("pretrain_seconds", "pretrain_seconds_total", "search_seconds", "gpu_hours", "parameters", "tags", "reason"),
)


@dataclass(frozen=True)
class Board:
    """A leaderboard and what it was computed from.

    Attributes:
        frame: one line an entrant, best first (see `leaderboard` for the columns).
        curves: score of each entrant at each label budget, as `bench.stats.curves.curves` returns it.
        reference: entrants that labels saved are measured against; empty where none has rows.
        reference_names: what the study called them.
        budget: the label budget of scores and labels saved; None means over all budgets.
        target: the score at which labels saved is taken; None means overall, or at `budget`.
        baseline: what always answering the most frequent class would score, in words; empty where that has no meaning.
        elsewhere: which entrants are measured in other metrics alone, in words; empty where none is.
        span: fewest and most labels of the score's range; None where entrants share no two budgets.
        present, promised: rows that are there, and that the study names.
    """

    frame: pl.DataFrame
    curves: pl.DataFrame
    study: Study | None
    metric: str
    level: float
    budget: str | None
    reference: tuple[str, ...]
    reference_names: tuple[str, ...]
    span: tuple[int, int] | None
    present: int
    promised: int
    target: float | None = None
    baseline: str = ""
    elsewhere: str = ""

    @property
    def protocols(self) -> list[str]:
        """The protocols of its lines."""
        return self.frame["protocol"].drop_nulls().unique().sort().to_list()

    @property
    def ranked(self) -> pl.DataFrame:
        """The lines that have a score."""
        return self.frame.filter(pl.col("score").is_not_null())


def leaderboard(
    root: Path,
    *,
    study: str | None = None,
    metric: str | None = None,
    budget: str | None = None,
    level: float = 0.95,
    reference: Sequence[str] | None = None,
    code: Code | None = None,
    target: float | None = None,
) -> pl.DataFrame:
    """One line for each entrant of a study, best first; failed ones last, without score or rank.

    Args:
        root: the results root.
        study: name or key of the study; None means the newest.
        metric: a metric where more is better; None means the first of METRICS that the study measured.
        budget: label budget ("1", ..., "all") that score, labels saved and rank are taken at; None means over all.
        level: level of the intervals.
        reference: replaces the study's reference, e.g. `["pixels+linear"]`.
        code: today's code, to tag rows made by another.
        target: score of the metric at which labels saved is taken; None means overall, or at `budget`.

    Returns:
        entrant, method, axes, encoder, protocol, layer, fuse, partner, is_reference;
        place (1 is best, ties share a place), rank_low, rank_high, coverage (share of the cells that ranks use);
        score (area under the curve over log labels divided by its width, or the score at `budget`), score_low,
        score_high, score_mark; budgets (list of struct: n_labels, score, low, high, label_budget);
        saved (label-saving factor), saved_low, saved_high, saved_censored (">=", "<=" or ""), saved_mark, saved_reason
        (why it is null); seeds (0: has none), draws;
        pretrain_seconds (mean of a seed), pretrain_seconds_total, search_seconds, gpu_hours, parameters;
        tags (list of str), reason.

    Raises:
        UserError: no results, or an unknown study, metric, budget or reference, or a target that is no score.
    """
    opened = open_results(root, study, reference=reference)
    return make_board(opened, metric=metric, budget=budget, level=level, code=code, target=target).frame


def make_board(
    opened: Opened,
    *,
    metric: str | None = None,
    budget: str | None = None,
    level: float = 0.95,
    code: Code | None = None,
    target: float | None = None,
) -> Board:
    """The leaderboard of opened results; arguments as in `leaderboard`."""
    metric = check_metric(opened, metric)
    scored = opened.scored(metric)
    _check_budget(scored, budget)
    _check_target(target, budget)
    reference = _scored_reference(opened, scored)
    data = opened.layout(metric)
    table = curves(data, None, metric=metric, level=level)
    span = common_span(scored) if budget is None else None
    seeds = opened.study.spec.get("seeds") if opened.study else None
    complete = opened.rows.height >= opened.promised
    frame = _identities(opened, scored)
    if scored.height:
        compared = data if budget is None else data.only([budget])
        inside = compared if span is None else compared.only(budgets_within(scored, span))
        against = saved(data, reference, budget, level, target)
        for part in (scores(compared, inside, level), points(table), against):
            frame = frame.join(part, on="entrant", how="left")
    else:
        frame = frame.with_columns(pl.lit(None, dtype=dtype).alias(name) for name, dtype in UNSCORED.items())
    frame = frame.join(spending(opened.rows), on="entrant", how="left")
    frame = frame.join(tags(opened.rows, code or Code(), seeds=seeds, complete=complete), on="entrant", how="left")
    frame = frame.sort("place", "score", "entrant", descending=[False, True, False], nulls_last=True)
    frame = frame.select(COLUMNS)
    return Board(
        frame=frame,
        curves=table,
        study=opened.study,
        metric=metric,
        level=level,
        budget=budget,
        reference=reference,
        reference_names=opened.reference_names,
        span=span,
        present=opened.rows.height,
        promised=opened.promised,
        target=target,
        baseline=_baseline(opened, metric),
        elsewhere=_elsewhere(opened, scored),
    )


def saved_table(opened: Opened, *, metric: str | None = None, level: float = 0.95) -> pl.DataFrame:
    """Labels saved by every entrant at every budget (see `bench.stats.label_efficiency.labels_saved`).

    Empty where no reference entrant has rows.
    """
    metric = check_metric(opened, metric)
    scored = opened.scored(metric)
    reference = _scored_reference(opened, scored)
    if not reference:
        return pl.DataFrame(schema=AT_BUDGET)
    return labels_saved(opened.layout(metric), None, reference=reference, metric=metric, level=level)


def curves_table(
    root: Path, *, study: str | None = None, metric: str | None = None, level: float = 0.95
) -> pl.DataFrame:
    """The label-efficiency curves of a study with their bands (see `bench.stats.curves.curves`).

    Raises:
        UserError: no results, or an unknown study or metric.
    """
    opened = open_results(root, study)
    metric = check_metric(opened, metric)
    return curves(opened.layout(metric), None, metric=metric, level=level)


def measured_metrics(opened: Opened) -> list[str]:
    """The metrics of METRICS that some finished row was measured in."""
    ok = opened.rows.filter(pl.col("status") == "ok")
    return [metric for metric in METRICS if ok[metric].null_count() < ok.height]


def check_metric(opened: Opened, metric: str | None) -> str:
    """The metric asked for, or the study's first.

    Raises:
        UserError: no row was measured in it.
    """
    known = measured_metrics(opened)
    if metric is None:
        return known[0] if known else METRICS[0]
    if metric not in known:
        raise unknown("metric", metric, known, "--metric")
    return metric


def budgets_of(rows: pl.DataFrame) -> list[str]:
    """The label budgets of these rows, fewest labels first."""
    sizes = rows.group_by("label_budget").agg(pl.col("n_labels").mean()).sort("n_labels", "label_budget")
    return sizes["label_budget"].to_list()


def _baseline(opened: Opened, metric: str) -> str:
    found = majority(opened, metric)
    return majority_text(found, metric, measured_metrics(opened)) if found else ""


def _elsewhere(opened: Opened, scored: pl.DataFrame) -> str:
    """`3 entrants are measured in mean IoU alone, and not shown`."""
    rows = opened.rows.filter(pl.col("status") == "ok").join(scored, on="entrant", how="anti")
    found = [part for _, part in rows.group_by("entrant", maintain_order=True)]
    firsts = [next((name for name in METRICS if part[name].null_count() < part.height), None) for part in found]
    names = list(dict.fromkeys(metric_text(name) for name in firsts if name))
    if not names:
        return ""
    verb = "is" if len(found) == 1 else "are"
    return f"{count_text(len(found), 'entrant')} {verb} measured in {list_text(names)} alone, and not shown"


def _check_budget(scored: pl.DataFrame, budget: str | None) -> None:
    if budget is not None and budget not in budgets_of(scored):
        raise UserError(
            f"--budget: no rows at label budget {budget!r}; valid: {', '.join(budgets_of(scored)) or 'none'}"
        )


def _check_target(target: float | None, budget: str | None) -> None:
    if target is None:
        return
    if not 0.0 < target < 1.0:
        raise UserError(f"--target: {target:g} is no score to reach; valid: a number between 0 and 1")
    if budget is not None:
        raise UserError(
            "--target: labels saved is taken at a score or at a budget; give --target or --budget, not both"
        )


def _scored_reference(opened: Opened, scored: pl.DataFrame) -> tuple[str, ...]:
    """The reference entrants that have a score."""
    known = set(scored["entrant"])
    return tuple(name for name in opened.reference if name in known)


def _identities(opened: Opened, scored: pl.DataFrame) -> pl.DataFrame:
    """One line an entrant: who it is. Those that work, but are measured in other metrics only, have no line."""
    elsewhere = opened.rows.filter(pl.col("status") == "ok").join(scored, on="entrant", how="anti")["entrant"]
    rows = opened.rows.filter(~pl.col("entrant").is_in(elsewhere.unique().implode()))
    lines = rows.group_by("entrant", maintain_order=True).agg(pl.col(IDENTITY).drop_nulls().first())
    texts = [axes_text(axes) for axes in lines["axes"]]
    reference = pl.col("entrant").is_in(list(opened.reference)).alias("is_reference")
    return lines.with_columns(pl.Series("axes", texts, dtype=pl.String), reference).drop("protocol_options")
