"""Isotonic regression and inverse interpolation against scipy and numpy."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import isotonic_regression

from bench.stats.monotone import inverse, isotonic, value_at

KNOTS = np.log2([1.0, 2.0, 5.0, 10.0, 50.0])
stacks = arrays(np.float64, (3, 5), elements=st.floats(-3, 3, width=32))


@settings(deadline=None)
@given(stacks)
def test_isotonic_agrees_with_scipy(values: np.ndarray) -> None:
    expected = [isotonic_regression(row).x for row in values]
    np.testing.assert_allclose(isotonic(values), expected, atol=1e-9)


@settings(deadline=None)
@given(stacks, arrays(np.float64, (3, 4), elements=st.floats(0, 5.5, width=32)))
def test_value_agrees_with_numpy_between_the_knots(values: np.ndarray, at: np.ndarray) -> None:
    expected = [np.interp(points, KNOTS, row) for row, points in zip(values, at, strict=True)]
    np.testing.assert_allclose(value_at(values, KNOTS, at), expected, atol=1e-9)


@settings(deadline=None)
@given(stacks, arrays(np.float64, (3, 4), elements=st.floats(-3, 3, width=32)))
def test_inverse_is_the_first_point_that_reaches_the_level(values: np.ndarray, levels: np.ndarray) -> None:
    curves = isotonic(values)
    found = inverse(curves, KNOTS, levels)
    above, below = levels > curves[:, -1:], levels < curves[:, :1]
    assert np.isposinf(found[above]).all()
    assert np.isneginf(found[below]).all()
    inside = ~(above | below)
    reached = value_at(curves, KNOTS, np.where(inside, found, 0.0))
    np.testing.assert_allclose(reached[inside], levels[inside], atol=1e-6)


def test_inverse_takes_the_fewest_labels_of_a_flat_stretch() -> None:
    curve = np.array([0.0, 1.0, 1.0, 1.0, 2.0])
    assert inverse(curve, KNOTS, np.array([1.0]))[0] == KNOTS[1]


def test_curves_of_one_budget() -> None:
    curve, knot = np.array([0.5]), np.array([3.0])
    assert inverse(curve, knot, np.array([0.4, 0.5, 0.6])).tolist() == [-np.inf, 3.0, np.inf]
    assert value_at(curve, knot, np.array([1.0, 9.0])).tolist() == [0.5, 0.5]
