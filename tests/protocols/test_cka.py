"""Linear CKA against closed forms, and layer drift on encoders whose distances are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.shape import ImageShape
from bench.methods.encoder import Encoder, build_encoder
from bench.protocols.cka import LEAST_RUNS, activations, layer_drift, linear_cka

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
    found = {
        kind: layer_drift(runs["clean"], runs[kind], runs["far"], images, resamples=100)
        for kind in ("near", "between", "far")
    }
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
