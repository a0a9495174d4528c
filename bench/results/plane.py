"""The plane noise x label budget of a study: what pretraining on noisy labels gains over random initialisation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from bench.results.budgets import budget_text
from bench.results.entrants import axes_text
from bench.results.opening import Opened
from bench.results.sweep import value_text
from bench.results.text import count_text, metric_text
from bench.stats.plane import plane as plane_cells
from bench.study.protocols import PROTOCOLS

BASELINE = "random_init"
CLEAN, PERMUTED = "clean", "permuted"  # the anchor columns
_NOISE = ("noise", "rate", "noise_seed")
_LOSSES = ("information_loss", "realised_noise_rate")
_FIXED = ("method", "rest", "encoder", "protocol", "protocol_options", "layer", "fuse")


@dataclass(frozen=True)
class NoiseColumn:
    """One noise level: its label, and what it did to the labels, means over its realisations."""

    label: str
    information_loss: float
    realised_noise_rate: float

    @property
    def anchor(self) -> bool:
        """Whether it is one of the two ends: clean labels, labels of other images."""
        return self.label in (CLEAN, PERMUTED)


@dataclass(frozen=True)
class Plane:
    """Gains of one method under one protocol, everything but noise and label budget fixed.

    Attributes:
        name: the protocol and what else is fixed, e.g. `segmentation[encoder_state=frozen]`.
        protocol: its name.
        metric: what the gain is in.
        baseline: the entrant that is subtracted, at the same clean labels.
        columns: noise levels, clean labels first, then by information lost, permuted labels last.
        budgets: label budgets, the smallest first.
        cells: the columns of `bench.stats.plane.plane`; entrant is the label of the noise column.
    """

    name: str
    protocol: str
    metric: str
    baseline: str
    columns: tuple[NoiseColumn, ...]
    budgets: tuple[str, ...]
    cells: pl.DataFrame

    def cell(self, column: str, budget: str) -> dict[str, Any] | None:
        """The cell of a noise column at a budget; None where it was not measured."""
        found = self.cells.filter(pl.col("entrant") == column, pl.col("label_budget") == budget).to_dicts()
        return found[0] if found else None

    def break_even(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Neighbouring cells, each as (column, budget) by number, between which the gain is known to change sign."""
        signs = {
            (x, y): _sign(self.cell(column.label, budget))
            for x, column in enumerate(self.columns)
            for y, budget in enumerate(self.budgets)
        }
        pairs = [((x, y), (x + dx, y + dy)) for x, y in signs for dx, dy in ((1, 0), (0, 1))]
        return [(a, b) for a, b in pairs if signs[a] * signs.get(b, 0) < 0]


def planes(opened: Opened, metric: str, *, level: float = 0.95) -> list[Plane]:
    """The planes of a study: one for each protocol, and for each way to fix what else the settings differ in.

    Rows of several noise seeds are realisations of one noise level. Where random initialisation of the same network
    was not judged by the same protocol, or there is one noise level alone, there is no plane.

    Args:
        opened: with the column details of rows, which holds what the noise did.
        metric: a score column.
        level: of the intervals.
    """
    rows = _with_noise(opened.scored(metric))
    noisy = rows.filter(pl.col("information_loss").is_not_null())
    found = []
    for _, part in noisy.group_by(_FIXED, maintain_order=True):
        beside = rows.filter(pl.col("method") == BASELINE).join(
            part.select("encoder", "protocol", "protocol_options", "layer", "fuse").unique(),
            on=["encoder", "protocol", "protocol_options", "layer", "fuse"],
            nulls_equal=True,
            how="semi",
        )
        if beside.height and part["level"].n_unique() > 1:
            found.append(_plane(opened, part, beside, metric, level))
    return sorted(found, key=lambda plane: plane.name)


def first_zero(plane: Plane, budget: str) -> str:
    """Up to which noise the gain at this budget is known to be above zero, in one sentence."""
    bought, name = budget_text(budget, [plane.protocol]), f"gain in {metric_text(plane.metric)}"
    measured = [(column, cell) for column in plane.columns if (cell := plane.cell(column.label, budget))]
    above: NoiseColumn | None = None
    for column, cell in measured:
        if cell["low"] is None:
            return f"{bought}: the interval of the {name} is not known at {column_text(column)}."
        if cell["low"] <= 0:
            state = "lies below zero" if cell["high"] < 0 else "first has zero inside its interval"
            before = f" is above zero up to {column_text(above)}, and" if above else ""
            return f"{bought}: the {name}{before} {state} at {column_text(column)}."
        above = column
    return f"{bought}: the {name} is above zero at every noise measured, up to {column_text(measured[-1][0])}."


def column_text(column: NoiseColumn) -> str:
    """`38 % of the information lost (flip 0.5, 21 % of the pixels wrong)`, or `clean labels`."""
    if column.label == CLEAN:
        return "clean labels"
    lost, wrong = share_text(column.information_loss), share_text(column.realised_noise_rate)
    return f"{lost} of the information lost ({column.label}, {wrong} of the pixels wrong)"


def share_text(share: float) -> str:
    """`38 %`."""
    return f"{100 * share:.0f} %"


def gain_text(cell: Mapping[str, Any]) -> str:
    """`+0.031`, in brackets where the interval has zero inside or is unknown."""
    text = f"{cell['difference']:+.3f}"
    return text if cell["decided"] else f"({text})"


def interval_text(cell: Mapping[str, Any]) -> str:
    """`+0.012 to +0.050`; empty where it is unknown."""
    return "" if cell["low"] is None else f"{cell['low']:+.3f} to {cell['high']:+.3f}"


def budget_label(protocol: str, budget: str) -> str:
    """What the axis of budgets says."""
    if budget == "all":
        return "all"
    return count_text(int(budget), "image") if _dense(protocol) else budget_text(budget, [protocol])


def _plane(opened: Opened, part: pl.DataFrame, beside: pl.DataFrame, metric: str, level: float) -> Plane:
    first = beside.sort("entrant").row(0, named=True)
    baseline, rest = first["entrant"], part["rest"][0]
    frame = pl.concat([part.with_columns(entrant="level"), beside.filter(pl.col("entrant") == baseline)])
    cells = plane_cells(
        frame,
        opened.test_items,
        baseline=baseline,
        axes=_LOSSES,
        realisation="noise_seed",
        metric=metric,
        level=level,
    )
    of_level = part.group_by("level", "noise_seed").agg(pl.col(name).mean() for name in _LOSSES)
    of_level = of_level.group_by("level").agg(pl.col(name).mean() for name in _LOSSES)
    columns = sorted((NoiseColumn(*row) for row in of_level.iter_rows()), key=_order)
    sizes = cells.group_by("label_budget").agg(pl.col("n_labels").mean()).sort("n_labels", "label_budget")
    name = part["entrant"][0].partition(" + ")[2] or part["protocol"][0]
    return Plane(
        f"{rest}: {name}" if rest else name,
        part["protocol"][0],
        metric,
        baseline,
        tuple(columns),
        tuple(sizes["label_budget"]),
        cells,
    )


def _with_noise(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with information_loss, realised_noise_rate, noise_seed, level (label of the noise column) and rest (what
    else the setting's axes say); null losses where the pretraining saw no noisy labels.
    """
    losses = [pl.col("details").str.json_path_match(f"$.{name}").cast(pl.Float64).alias(name) for name in _LOSSES]
    rows = rows.with_columns(losses)
    settings = rows.select("axes", wrong=pl.col("realised_noise_rate") > 0).unique(maintain_order=True)
    found = [_setting(json.loads(axes or "{}"), wrong) for axes, wrong in settings.iter_rows()]
    names = {"level": pl.String(), "noise_seed": pl.Int64(), "rest": pl.String()}
    known = pl.concat([settings, pl.DataFrame(found, schema=names, orient="row")], how="horizontal")
    return rows.with_columns(wrong=pl.col("realised_noise_rate") > 0).join(
        known, on=["axes", "wrong"], how="left", nulls_equal=True, maintain_order="left"
    )


def _setting(axes: Mapping[str, Any], wrong: bool | None) -> tuple[str, int, str]:
    """Label of the noise level, number of its realisation, and what else is set."""
    rest = axes_text(json.dumps({name: value for name, value in axes.items() if name not in _NOISE}))
    seed = int(axes.get("noise_seed") or 0)
    if not wrong:
        return CLEAN, seed, rest
    if axes.get("noise") == "permuted" and float(axes.get("rate", 1.0)) == 1.0:
        return PERMUTED, seed, rest
    level = " ".join(value_text(axes[name]) for name in ("noise", "rate") if name in axes)
    return level or "noisy", seed, rest


def _order(column: NoiseColumn) -> tuple[bool, bool, float, str]:
    return column.label == PERMUTED, column.label != CLEAN, column.information_loss, column.label


def _sign(cell: Mapping[str, Any] | None) -> int:
    if cell is None or not cell["decided"]:
        return 0
    return 1 if cell["difference"] > 0 else -1


def _dense(protocol: str) -> bool:
    return protocol in PROTOCOLS and PROTOCOLS[protocol].dense
