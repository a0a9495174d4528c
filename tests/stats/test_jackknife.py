"""The crossed jackknife-t where textbooks give the answer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bench.stats.jackknife import Factor, jackknife
from bench.stats.stack import crossed_factors, leave_one_out
from bench.stats.variance import mean_squares


def stack_of_means(*samples: np.ndarray) -> tuple[list[np.ndarray], list[Factor]]:
    """Leave-one-out means of independent samples, and their factors."""
    size, at, columns, factors = 1 + sum(len(s) for s in samples), 1, [], []
    for k, sample in enumerate(samples):
        column = np.full(size, sample.mean())
        column[at : at + len(sample)] = (sample.sum() - sample) / (len(sample) - 1)
        factors.append(Factor(f"seeds of {k}", slice(at, at + len(sample))))
        columns.append(column)
        at += len(sample)
    return columns, factors


def test_one_factor_is_the_standard_error_and_the_t_interval(rng: np.random.Generator) -> None:
    sample = rng.normal(size=7)
    (means,), factors = stack_of_means(sample)
    estimate = jackknife(means, factors)
    assert np.sqrt(estimate.variance) == pytest.approx(stats.sem(sample))
    expected = stats.t.interval(0.9, 6, sample.mean(), stats.sem(sample))
    assert [float(end) for end in estimate.interval(0.9)] == pytest.approx(expected)


def test_two_samples_are_welchs_test(rng: np.random.Generator) -> None:
    first, second = rng.normal(size=4), rng.normal(1, 3, size=9)
    (a, b), factors = stack_of_means(first, second)
    estimate = jackknife(a - b, factors)
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert float(estimate.df) == pytest.approx(expected.df)
    assert float(estimate.p_value()) == pytest.approx(expected.pvalue)
    assert tuple(map(float, estimate.interval(0.95))) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_anova_form_is_the_two_way_variance_of_a_mean(rng: np.random.Generator) -> None:
    cells = 2 * rng.normal(size=(4, 1)) + 2 * rng.normal(size=(1, 6)) + 0.3 * rng.normal(size=(4, 6))
    values = cells[:, :, None, None]
    factors = crossed_factors(["m"], [values], "anova")
    estimate = jackknife(leave_one_out("m", values, factors)[:, 0], factors)
    seed, draw, interaction = mean_squares(cells)
    assert float(estimate.variance) == pytest.approx((seed + draw - interaction) / 24)


def test_anova_form_is_floored_and_never_wider(rng: np.random.Generator) -> None:
    for _ in range(20):
        values = rng.normal(size=(3, 4, 1, 1))
        factors = crossed_factors(["m"], [values], "anova")
        stack = leave_one_out("m", values, factors)[:, 0]
        anova, crossed = jackknife(stack, factors), jackknife(stack, [f for f in factors if f.crossing is None])
        assert max(crossed.terms.values()) <= anova.variance * (1 + 1e-12)
        assert anova.variance <= crossed.variance * (1 + 1e-12)


def test_nothing_replicated_is_unknown_not_zero() -> None:
    estimate = jackknife(np.array([0.5]), [])
    assert np.isnan(estimate.variance)
    assert np.isnan(estimate.interval(0.95)).all()


def test_agreement_without_variance_is_no_evidence() -> None:
    estimate = jackknife(np.zeros(4), [Factor("draws", slice(1, 4))])
    assert estimate.p_value() == 1.0
    assert [float(end) for end in estimate.interval(0.95)] == [0.0, 0.0]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)
