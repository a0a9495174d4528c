"""benchmarks/coverage.py in small: nominal 95 % intervals cover, percentile bootstraps with few seeds do not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

REPLICATES = 200


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("factor", [1.0, 2.0, 10.0])
def test_intervals_cover_known_factors(coverage: ModuleType, factor: float) -> None:
    rng = np.random.default_rng(1)
    accuracy = coverage.simulate(3, 5, 400, factor, REPLICATES, rng)
    curves, factors = coverage.stacks(accuracy, "jackknife")
    overall = coverage.factor_overall(curves[0], coverage.KNOTS, curves[1], coverage.KNOTS)
    low, high = coverage.jackknife(overall, factors).interval(0.95)
    found = {"overall": (low, high)} | {name: ends for name, *ends in coverage.inversions(accuracy)}
    for name, (low, high) in found.items():
        covered = np.mean((low <= np.log2(factor)) & (np.log2(factor) <= high))
        assert covered >= 0.91, name  # 95 % less two and a half standard errors
    if factor == 10:
        assert (
            np.isposinf(found["inversion at 20"][1]).mean() > 0.95
        )  # 200 labels' worth: the reference never catches up


def test_bootstrap_of_two_seeds_covers_too_little(coverage: ModuleType) -> None:
    rng = np.random.default_rng(2)
    accuracy = coverage.simulate(2, 5, 400, 2.0, 60, rng)
    ends = np.array([coverage._percentiles(accuracy[:, at], "nested bootstrap", rng) for at in range(60)])
    assert np.mean((ends[:, 0] <= 1) & (ends[:, 1] >= 1)) < 0.85
