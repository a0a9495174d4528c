from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.study.axes import parse_distribution


@given(st.floats(1e-6, 1.0), st.floats(1.01, 1e4), st.integers(2, 9))
def test_a_log_grid_is_numpys(low: float, ratio: float, points: int) -> None:
    low, high = float(f"{low:.6g}"), float(f"{low * ratio:.6g}")
    if low < high:
        grid = parse_distribution("m.lr", {"loguniform": [low, high]}).grid(points)
        assert np.allclose(grid, np.geomspace(low, high, points), rtol=1e-5)


@given(st.integers(-50, 50), st.integers(1, 100), st.integers(1, 9))
def test_an_integer_grid_stays_in_range_without_repeats(low: int, width: int, points: int) -> None:
    grid = parse_distribution("m.depth", {"int": [low, low + width]}).grid(points)
    assert all(isinstance(value, int) and low <= value <= low + width for value in grid)
    assert len(set(grid)) == len(grid) <= points


def test_one_point_is_the_middle() -> None:
    assert parse_distribution("m.lr", {"loguniform": [1e-4, 1e-2]}).grid(1) == (1e-3,)
    assert parse_distribution("m.p", {"uniform": [0, 1]}).grid(1) == (0.5,)
    assert math.isclose(sum(parse_distribution("m.p", {"uniform": [0, 1]}).grid(3)), 1.5)


def test_choices_are_all_tried() -> None:
    assert parse_distribution("m.a", {"choice": ["none", "crop"]}).grid(7) == ("none", "crop")


BAD = [None, 3, [], {}, {"uniform": 1}, {"uniform": [1]}, {"uniform": [1, 1]}, {"int": [1, 2.5]}]


@pytest.mark.parametrize("value", BAD)
def test_what_is_no_distribution_is_quoted(value: object) -> None:
    with pytest.raises(ValueError, match=r"m\.lr"):
        parse_distribution("m.lr", value)
