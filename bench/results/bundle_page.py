"""The page of a bundle, as Markdown: question, finding, verdicts, scores at each label budget, cost, citation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from bench.results.budgets import budget_text
from bench.results.claims import claims_table
from bench.results.leaderboard import Board, budgets_of, saved_table
from bench.results.markdown import plain, table
from bench.results.opening import Opened
from bench.results.plane_page import plane_section
from bench.results.summary import finding, reference_text
from bench.results.supervision import mask_lines
from bench.results.text import (
    count_text,
    deciding_text,
    footnotes,
    list_text,
    metric_text,
    saved_text,
    score_text,
    seconds_text,
)

_PAGE = """# {name}

{description}**{finding}**

Made by PretextBench {version}. `bench verify .` recomputes every number on this page from the rows and says what
differs. Digest: `{digest}`
{verdicts}{masks}{planes}
## Scores

{scores}

{notes}
{saved}
## Cost

{cost}

## Files

| file | holds |
|---|---|
| rows.parquet | every measurement, with a bitmap of the correct test items |
| trials.parquet | every trial of the searches that chose the nuisances |
| leaderboard.parquet | scores, labels saved, ranks and costs of each entrant |
| curves.parquet | score of each entrant at each label budget |
| splits.parquet | the items of train pool, validation and test, with labels and groups |
| study.json | the resolved study and the data it ran on |
| environment.json | versions and devices that made the rows |
| digests.json | SHA-256 digests of the files, a digest of each row and trial, metric and level of the leaderboard |

The columns of rows.parquet and trials.parquet are described in docs/schema.md of PretextBench.

Intervals are {level:g} % and conditional on the tuning. Failed entrants are listed and not ranked.

## Citation

```bibtex
@misc{{pretextbench_{key},
  title = {{{name}: label efficiency of self-supervised pretraining}},
  note = {{PretextBench {version}, study {key}, data fingerprint {fingerprint}, bundle digest {digest}}},
  year = {{{year}}}
}}
```
"""


def bundle_page(opened: Opened, board: Board, rows: pl.DataFrame, digest: str) -> str:
    """The page, a function of its arguments alone.

    Args:
        opened: the study with its rows, for the claims.
        board: the leaderboard made from them.
        rows: the same rows with all columns of the schema.
        digest: of the bundle's data files.
    """
    study = board.study
    finished = rows["finished"].max()
    description = str(study.spec.get("description") or "") if study else ""
    return _PAGE.format(
        name=study.name if study else "all rows",
        description=f"{plain(description)}.\n\n" if description else "",
        key=study.key[:8] if study else "rows",
        finding=plain(finding(board).sentence),
        version=", ".join(rows["version"].drop_nulls().unique().sort().to_list()),
        verdicts=_verdicts(claims_table(opened, level=board.level)),
        planes=plane_section(opened, board.metric, level=board.level),
        masks=_masks(mask_lines(opened, level=board.level)),
        scores=_scores(board),
        notes="  \n".join(plain(note) for note in _notes(board)),
        saved=_saved(opened, board),
        cost=_cost(rows),
        level=board.level * 100,
        fingerprint=rows["dataset_fingerprint"][0],
        digest=digest,
        year=getattr(finished, "year", "n.d."),
    )


def _verdicts(claims: pl.DataFrame) -> str:
    """A line for each part of each claim; empty where the study states none."""
    if claims.is_empty():
        return ""
    lines = []
    for row in claims.iter_rows(named=True):
        claim = (row["claim"], row["verdict"]) if row["part"] == 0 else ("", "")
        lines.append((*claim, row["part_statement"], _effect(row), deciding_text(row) or row["reason"] or ""))
    text = table(("claim", "verdict", "each part in full", "effect (interval)", "remark"), lines)
    return f"\n## Verdicts\n\nMargins were set before the study ran; intervals hold jointly (Holm).\n\n{text}\n"


def _masks(lines: Sequence[str]) -> str:
    """What masks are worth beside image labels; empty where the study does not ask."""
    if not lines:
        return ""
    items = "\n".join(f"- {plain(line.strip())}" if line.startswith(" ") else f"\n{plain(line)}\n" for line in lines)
    return f"\n## What masks are worth\n{items}\n"


def _effect(row: dict[str, Any]) -> str:
    if row["effect"] is None:
        return "-"
    saved = row["quantity"] == "labels_saved"
    number = "{:.2g}x" if saved else "{:+.3f}"
    text = number.format(row["effect"])
    return text if row["low"] is None else f"{text} ({number.format(row['low'])} to {number.format(row['high'])})"


def _scores(board: Board) -> str:
    """One line an entrant, best first: overall score, labels saved, then the score at each budget."""
    budgets = budgets_of(board.curves)
    points = {(row["entrant"], row["label_budget"]): row for row in board.curves.iter_rows(named=True)}
    head = ("", "entrant", "score", "labels saved", *(budget_text(budget, board.protocols) for budget in budgets))
    lines = []
    for row in board.frame.iter_rows(named=True):
        name = f"{row['entrant']} (reference)" if row["is_reference"] else row["entrant"]
        score = score_text(row["score"], row["score_low"], row["score_high"], row["score_mark"])
        marks = (row["saved_censored"], row["saved_mark"])
        saved = saved_text(row["saved"], row["saved_low"], row["saved_high"], *marks)
        found = [points.get((row["entrant"], budget)) for budget in budgets]
        at = [score_text(point["score"], point["low"], point["high"]) if point else "-" for point in found]
        lines.append((str(row["place"] or "-"), name, score, saved, *at))
    return table(head, lines)


def _saved(opened: Opened, board: Board) -> str:
    """Labels saved at each budget, best entrant first; empty where no reference has rows."""
    if not board.reference:
        return ""
    factors = saved_table(opened, metric=board.metric, level=board.level)
    found = {(row["entrant"], row["label_budget"]): row for row in factors.iter_rows(named=True)}
    budgets = budgets_of(factors)
    lines = []
    for entrant in board.ranked["entrant"]:
        cells = [_factor(found.get((entrant, budget))) for budget in budgets]
        if any(cell != "-" for cell in cells):
            lines.append((entrant, *cells))
    text = table(("entrant", *(budget_text(budget, board.protocols) for budget in budgets)), lines)
    return f"\n## Labels saved at each budget\n\n{text}\n"


def _factor(row: dict[str, Any] | None) -> str:
    return "-" if row is None else saved_text(row["factor"], row["low"], row["high"], row["censored"])


def _notes(board: Board) -> Iterable[str]:
    where = f", {board.span[0]:,} to {board.span[1]:,} labels" if board.span else ""
    yield f"score: {metric_text(board.metric)}, area under the curve{where}"
    if board.reference:
        yield f"labels saved: how many times the labels {reference_text(board)} needs for the same score"
    yield from footnotes([*board.frame["score_mark"], *board.frame["saved_mark"]])
    for entrant, reason in board.frame.select("entrant", "reason").drop_nulls().iter_rows():
        yield f"{entrant}: {reason}"


def _cost(rows: pl.DataFrame) -> str:
    """What was spent, from the rows: pretrainings once each, evaluations in full."""
    trained = rows.unique("pretrain_key", keep="any")
    pretraining = trained["pretrain_seconds"].sum()
    search = rows.unique(["method", "axes", "options"], keep="any")["search_seconds"].sum()
    evaluation = rows["evaluate_seconds"].sum()
    devices = rows["device"].drop_nulls().unique().sort().to_list()
    return (
        f"{count_text(rows.height, 'row')} of {count_text(trained.height, 'pretraining')}, "
        f"on {list_text(devices) or 'an unknown device'}. Time of one worker: "
        f"pretraining {seconds_text(float(pretraining))}, "
        f"search {seconds_text(float(search))}, evaluation {seconds_text(float(evaluation))}."
    )
