"""How much each setting and parameter mattered to the objective of a search: a random forest over its trials."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from bench.results.sweep import value_text
from bench.results.text import count_text
from bench.results.trials import REACHED, tried
from bench.seeds import named_seed

LEAST = 8  # finished trials: fewer say nothing of several parameters
_TREES, _LEAF, _SHUFFLES = 100, 2, 10


@dataclass(frozen=True)
class Importance:
    """What a forest made of the trials of one method.

    Attributes:
        names: settings and parameters, the most important first.
        drops: fall of the explained share of variance when the values of a name are shuffled among the trials.
        spreads: standard deviation of each fall over the shuffles.
        trials: finished trials that the forest saw.
        explained: share of variance (R^2) explained in trials that a tree has not seen; at most 1, below 0 where the
            forest is worse than the mean.
        reason: why nothing is shown; empty where something is.
    """

    names: tuple[str, ...] = ()
    drops: tuple[float, ...] = ()
    spreads: tuple[float, ...] = ()
    trials: int = 0
    explained: float = 0.0
    reason: str = ""


def importance(trials: pl.DataFrame) -> Importance:
    """Permutation importance (Breiman, 2001) of every setting and parameter in the finished trials of one method.

    Seeded: the same trials give the same numbers, in whatever order they come.

    Args:
        trials: as `bench.results.trials.trials_of` returns it, of one method.
    """
    finished = trials.filter(pl.col("state") == "complete", pl.col(REACHED).is_not_null())
    finished = finished.sort("setting", "parameters", "number")
    names, count = tried(finished), finished.height
    if count < LEAST:
        return Importance(trials=count, reason=f"it takes {LEAST} finished trials, and there are {count}")
    if not names:
        return Importance(trials=count, reason="nothing was varied in them")
    objective = finished[REACHED].to_numpy()
    if np.ptp(objective) == 0:
        return Importance(trials=count, reason="all trials reached the same objective")
    values = [json.loads(text) for text in finished["values"]]
    features = np.column_stack([_numbers([value.get(name) for value in values]) for name in names])
    return _weighed(names, features, objective)


def importance_text(found: Importance) -> str:
    """What the figure shows, and how far it can be trusted."""
    text = (
        f"Importance over {count_text(found.trials, 'finished trial')}: how much less of the variance a random forest "
        "explains when the values of one parameter are shuffled."
    )
    if found.explained <= 0:
        return f"{text} In trials it has not seen the forest does no better than the mean: the order may be chance."
    return f"{text} In trials it has not seen it explains {found.explained:.0%} of the variance."


def _weighed(names: Sequence[str], features: np.ndarray, objective: np.ndarray) -> Importance:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    seed = named_seed("importance") % 2**32
    forest = RandomForestRegressor(
        _TREES, min_samples_leaf=_LEAF, oob_score=True, bootstrap=True, random_state=seed, n_jobs=1
    ).fit(features, objective)
    found = permutation_importance(forest, features, objective, n_repeats=_SHUFFLES, random_state=seed, n_jobs=1)
    order = sorted(range(len(names)), key=lambda at: (-found.importances_mean[at], names[at]))
    return Importance(
        names=tuple(names[at] for at in order),
        drops=tuple(float(found.importances_mean[at]) for at in order),
        spreads=tuple(float(found.importances_std[at]) for at in order),
        trials=len(objective),
        explained=float(forest.oob_score_),
    )


def _numbers(values: Sequence[object]) -> np.ndarray:
    """Values as floats, NaN where a trial has none; what is no number counts in the order of its text."""
    known = [value for value in values if value is not None]
    if all(isinstance(value, int | float) for value in known):
        return np.array([np.nan if value is None else float(value) for value in values])  # type: ignore[arg-type]
    texts = sorted({value_text(value) for value in known})
    return np.array([np.nan if value is None else float(texts.index(value_text(value))) for value in values])
