"""Small made-up studies whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
import pytest
from scipy.special import ndtr

from bench.seeds import named_seed

Study = tuple[pl.DataFrame, pl.DataFrame]
BUDGETS = {"1": 10, "2": 20, "5": 50, "10": 100, "50": 500, "all": 5000}


def make_items(n: int = 400, classes: int = 10, groups: int | None = None) -> pl.DataFrame:
    """Test items of equal classes; `groups` own groups, or none."""
    item = np.arange(n)
    group = [None] * n if groups is None else (item % groups).tolist()
    return pl.DataFrame({"item": item, "label": item % classes, "group": group}, schema_overrides={"group": pl.Int64})


def make_rows(
    ahead: Mapping[str, float],
    *,
    seeds: Mapping[str, Sequence[int | None]] | None = None,
    draws: int = 4,
    n: int = 400,
    budgets: Sequence[str] = tuple(BUDGETS),
    noise: float = 0.08,
) -> pl.DataFrame:
    """Rows of entrants that are `ahead` doublings of labels before a common curve, with seed and draw effects."""
    records = []
    for entrant, doublings in ahead.items():
        rng = np.random.default_rng(named_seed("test rows", doublings))
        common = np.random.default_rng(named_seed("test rows", "common"))
        difficulty = common.standard_normal(n)
        shift = noise * common.standard_normal(draws)
        for seed in (seeds or {}).get(entrant, range(3)):
            luck = 0.0 if seed is None else noise * rng.standard_normal()
            for budget in budgets:
                for draw in range(1 if budget == "all" else draws):
                    ability = -1.0 + 0.25 * (np.log2(BUDGETS[budget] / 10) + doublings) + luck + shift[draw]
                    correct = rng.random(n) < ndtr(1.4 * ability - difficulty)
                    records.append(
                        {
                            "entrant": entrant,
                            "seed": seed,
                            "draw": draw,
                            "label_budget": budget,
                            "n_labels": BUDGETS[budget],
                            "correct": np.packbits(correct).tobytes(),
                            "n_test": n,
                            "accuracy": float(correct.mean()),
                            "nll": float(2 - correct.mean()),
                        }
                    )
    return pl.DataFrame(records, schema_overrides={"seed": pl.Int64})


@pytest.fixture(scope="session")
def study() -> Study:
    """Three entrants: pixels (seedless), mae two doublings ahead, simclr three."""
    return make_rows({"pixels": 0, "mae": 2, "simclr": 3}, seeds={"pixels": [None]}), make_items()


@pytest.fixture(scope="session")
def rows_of() -> Callable[..., pl.DataFrame]:
    return make_rows


@pytest.fixture(scope="session")
def items_of() -> Callable[..., pl.DataFrame]:
    return make_items
