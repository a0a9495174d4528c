"""Linear CKA against closed forms, and layer drift on encoders whose distances are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.shape import ImageShape
from bench.methods.encoder import Encoder, build_encoder
from bench.protocols.cka import KINDS, LEAST_RUNS, DriftStack, activations, drift_stack, layer_drift, linear_cka
from bench.stats.jackknife import Factor, jackknife

SHAPE = ImageShape(3, 16, 16)


@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_rotations_scales_and_shifts_change_nothing(seed: int, scale: float) -> None:
    numbers = np.random.default_rng(seed)
    first, second = numbers.normal(size=(40, 5)), numbers.normal(size=(40, 3))
    turn = np.linalg.qr(numbers.normal(size=(5, 5)))[0]
    assert linear_cka(first, scale * first @ turn + 3) == pytest.approx(1)
    found = linear_cka(first, second)
    assert 0 <= found <= 1
    assert linear_cka(second, first @ turn) == pytest.approx(found)


def test_one_column_each_is_the_squared_correlation() -> None:
    numbers = np.random.default_rng(0)
    first = numbers.normal(size=(30, 1))
    second = first + numbers.normal(size=(30, 1))
    assert linear_cka(first, second) == pytest.approx(np.corrcoef(first[:, 0], second[:, 0])[0, 1] ** 2)


def test_it_is_the_alignment_of_centred_gram_matrices() -> None:
    numbers = np.random.default_rng(1)
    first, second = numbers.normal(size=(20, 6)), numbers.normal(size=(20, 4))
    centre = np.eye(20) - 1 / 20
    grams = [centre @ (values @ values.T) @ centre for values in (first, second)]
    expected = (grams[0] * grams[1]).sum() / np.sqrt((grams[0] ** 2).sum() * (grams[1] ** 2).sum())
    assert linear_cka(first, second) == pytest.approx(expected)
    assert np.isnan(linear_cka(first, np.ones((20, 2))))


def encoder(seed: int, towards: Encoder | None = None, share: float = 0.0) -> Encoder:
    """A network of its own seed, its weights moved a share of the way towards another's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = build_encoder("conv_nano", SHAPE, [0.5] * 3, [0.3] * 3)
    if towards is not None:
        with torch.no_grad():
            for mine, other in zip(made.parameters(), towards.parameters(), strict=True):
                mine.lerp_(other, share)
    return made


@pytest.fixture(scope="module")
def runs() -> dict[str, list[Encoder]]:
    middle = encoder(0)
    shares = {"clean": 0.9, "near": 0.9, "between": 0.5, "far": 0.0}
    return {
        kind: [encoder(10 * place + seed + 1, middle, share) for seed in range(LEAST_RUNS)]
        for place, (kind, share) in enumerate(shares.items())
    }


def test_drift_is_zero_within_the_floor_and_one_at_the_ceiling(runs: dict[str, list[Encoder]]) -> None:
    images = torch.rand(24, *SHAPE, generator=torch.Generator().manual_seed(0))
    found = {kind: layer_drift(runs["clean"], runs[kind], runs["far"], images) for kind in ("near", "between", "far")}
    assert list(found["near"]) == [f"stage{level}" for level in range(1, 6)]
    for layer in found["near"]:
        near, between, far = (found[kind][layer] for kind in ("near", "between", "far"))
        assert abs(near.drift) < 0.1
        assert far.drift == pytest.approx(1)
        assert near.drift < between.drift < 1
        assert between.low <= between.drift <= between.high
        assert between.drift == pytest.approx((between.noisy - between.floor) / (between.ceiling - between.floor))


def test_activations_are_samples_and_places_by_channels(runs: dict[str, list[Encoder]]) -> None:
    found = activations(runs["far"][0], torch.rand(3, *SHAPE))
    assert {layer: values.shape for layer, values in found.items()} == {
        layer: (3 * 16, info.channels) for layer, info in runs["far"][0].layers.items()
    }


def test_three_runs_are_too_few(runs: dict[str, list[Encoder]]) -> None:
    with pytest.raises(ValueError, match="noisy: 3 runs"):
        layer_drift(runs["clean"], runs["near"][:3], runs["far"], torch.rand(2, *SHAPE))


def test_intervals_are_wider_where_runs_differ_more_and_hold_for_contrasts(runs: dict[str, list[Encoder]]) -> None:
    images = torch.rand(16, *SHAPE, generator=torch.Generator().manual_seed(1))
    found = {kind: [activations(encoder, images) for encoder in runs[kind]] for kind in ("clean", "between", "far")}
    stack = drift_stack(found["clean"], found["between"], found["far"])
    widths = jackknife(stack.values, stack.factors).half_width(0.95)
    mixed = drift_stack(found["clean"], [*found["between"][:2], *found["far"][:2]], found["far"])
    assert jackknife(mixed.values, mixed.factors).half_width(0.95).mean() > 1.5 * widths.mean()
    drifts = stack.table()
    contrast = stack.contrast(["stage1", "stage2"], ["stage5"])
    expected = (drifts["stage1"].drift + drifts["stage2"].drift) / 2 - drifts["stage5"].drift
    assert contrast.difference == pytest.approx(expected)
    assert contrast.low < contrast.difference < contrast.high
    same = stack.contrast(["stage1"], ["stage1"])
    assert same == (0, 0, 0)


def test_leaving_a_run_out_is_the_drift_without_it(runs: dict[str, list[Encoder]]) -> None:
    images = torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(2))
    extra = {kind: [*runs[kind], encoder(70 + place)] for place, kind in enumerate(("clean", "between", "far"))}
    found = {kind: [activations(each, images) for each in extra[kind]] for kind in extra}
    stack = drift_stack(*found.values())
    for place, kind in enumerate(found):
        fewer = {name: values[:-1] if name == kind else values for name, values in found.items()}
        np.testing.assert_allclose(stack.distances[5 * (place + 1)], drift_stack(*fewer.values()).distances[0])


def test_drift_is_undefined_where_permuted_labels_move_nothing() -> None:
    factors = tuple(Factor(kind, slice(1 + 4 * place, 5 + 4 * place)) for place, kind in enumerate(KINDS))
    distances = np.tile([[0.3], [0.25], [0.2]], (13, 1, 1))
    drift = DriftStack(("a",), distances, factors).table()["a"]
    assert np.isnan(drift.drift)
    assert (drift.low, drift.high) == (-np.inf, np.inf)


def test_the_interval_is_fiellers_where_the_span_is_known() -> None:
    """With a span without variance the inversion is the jackknife-t interval of the ratio."""
    numbers = np.random.default_rng(0)
    factors = tuple(Factor(kind, slice(1 + 5 * place, 6 + 5 * place)) for place, kind in enumerate(KINDS))
    distances = np.stack([np.r_[0.5, 0.5 + 0.02 * numbers.normal(size=15)], np.full(16, 0.2), np.full(16, 0.7)], 1)
    stack = DriftStack(("a",), distances[:, :, None], factors)
    low, high = jackknife(stack.values, factors).interval(0.95)
    found = stack.table()["a"]
    assert found.drift == pytest.approx(0.6)
    assert (found.low, found.high) == (pytest.approx(float(low[0]), abs=1e-6), pytest.approx(float(high[0]), abs=1e-6))
