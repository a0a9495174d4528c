"""What freezing was worth: scores of the noisy settings under segmentation by the blocks that were frozen."""

from __future__ import annotations

import json

import polars as pl

from bench.results.drift import REALISATION
from bench.results.entrants import axes_text
from bench.results.opening import Opened
from bench.results.text import score_text
from bench.stats.curves import curves

PROTOCOL, METRIC = "segmentation", "miou"
_FREEZING = ("encoder_state", "frozen_blocks", "unfreeze_at")


def tried(opened: Opened, method: str, setting: str) -> pl.DataFrame:
    """Mean IoU of a noisy setting by what was frozen and by label budget.

    Pretrainings on several realisations of the noise count as seeds of their own.

    Args:
        opened: the study.
        method: the method.
        setting: as in the column `setting` of the drift.

    Returns:
        The columns of `bench.stats.curves.curves`; entrant says what was frozen. Empty unless the study tried two ways
        or more.
    """
    rows = opened.scored(METRIC).filter(pl.col("method") == method, pl.col("protocol") == PROTOCOL)
    names = {axes: _setting(axes) for axes in rows["axes"].unique()}
    rows = rows.filter(pl.col("axes").replace_strict(names, return_dtype=pl.String) == setting)
    ways = _ways(rows["protocol_options"].unique().sort().to_list())
    if len(ways) < 2:
        return curves(rows.clear(), None, metric=METRIC)
    rows = rows.filter(pl.col("protocol_options").is_in(list(ways)))
    rows = rows.with_columns(
        entrant=pl.col("protocol_options").replace_strict(ways, return_dtype=pl.String),
        seed=pl.col("pretrain_key").rank("dense").cast(pl.Int64),
    )
    return curves(rows, opened.test_items, metric=METRIC).sort("n_labels", "entrant")


def tried_lines(table: pl.DataFrame) -> list[str]:
    """`16 images: mean IoU 0.412 ± 0.011 with encoder_state=frozen; ...`, a line a label budget."""
    return [
        f"{budget} images: mean IoU "
        + "; ".join(
            f"{score_text(row['score'], row['low'], row['high'], row['mark'])} with {row['entrant']}"
            for row in part.iter_rows(named=True)
        )
        for (budget,), part in table.group_by(["label_budget"], maintain_order=True)
    ]


def _setting(axes: str) -> str:
    return axes_text(json.dumps({name: value for name, value in json.loads(axes).items() if name != REALISATION}))


def _ways(options: list[str]) -> dict[str, str]:
    """What was frozen under each of the protocol's options; where entries differ in more, those of the most ways."""
    alike: dict[str, dict[str, str]] = {}
    for text in options:
        found = json.loads(text)
        frozen = {name: found[name] for name in _FREEZING if found.get(name) is not None}
        rest = {name: value for name, value in found.items() if name not in _FREEZING}
        alike.setdefault(json.dumps(rest, sort_keys=True), {})[text] = axes_text(json.dumps(frozen))
    return max(alike.values(), key=len, default={})
