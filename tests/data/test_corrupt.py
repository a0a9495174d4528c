"""Corruptions: exact counts, uniform choice, the stated noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.data.corrupt import add_noise, add_uint8_noise, hidden_count, mask_patches, patch_mask, pixel_mask
from bench.data.draws import Draws
from bench.errors import UserError


@given(rows=st.integers(1, 9), columns=st.integers(1, 9), percent=st.integers(0, 100), seed=st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_every_sample_hides_the_same_exact_number(rows: int, columns: int, percent: int, seed: int) -> None:
    mask = patch_mask((rows, columns), percent / 100, Draws(seed, 4))
    assert mask.shape == (4, rows, columns)
    assert mask.sum(dim=(1, 2)).tolist() == [rows * columns * percent // 100] * 4


def test_binary_fractions_do_not_lose_a_patch() -> None:
    assert int(100 * 0.29) == 28
    assert hidden_count(100, 0.29) == 29
    with pytest.raises(ValueError, match=r"1\.2"):
        hidden_count(4, 1.2)


def test_every_patch_is_hidden_equally_often() -> None:
    mask = patch_mask((4, 4), 0.25, Draws(0, 8000)).flatten(1)
    assert stats.chisquare(mask.sum(dim=0).numpy()).pvalue > 1e-3
    pairs = (mask[:, 0] & mask[:, 1]).float().mean()  # without replacement: 4/16 * 3/15
    assert abs(pairs - 0.05) < 0.01


def test_hidden_patches_are_black_and_the_rest_is_untouched() -> None:
    images = 0.5 + 0.5 * torch.rand(5, 3, 12, 8)
    spoilt, hidden = mask_patches(images, 4, 0.5, Draws(0, 5))
    assert hidden.shape == (5, 1, 12, 8)
    assert (spoilt[hidden.expand_as(images)] == 0).all()
    assert torch.equal(spoilt[~hidden.expand_as(images)], images[~hidden.expand_as(images)])
    patches = hidden.view(5, 3, 4, 2, 4).float().mean(dim=(2, 4))
    assert set(patches.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(pixel_mask(patches.bool(), 4), hidden)


def test_a_patch_that_does_not_divide_is_refused_with_those_that_do() -> None:
    with pytest.raises(UserError, match=r"patch of 5 pixels .* 12 x 8 image; valid: \[1, 2, 4\]"):
        mask_patches(torch.zeros(1, 1, 12, 8), 5, 0.5, Draws(0, 1))


@pytest.mark.parametrize("sigma", [0.1, 0.54, 1.0])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_noise_is_gaussian_whatever_lies_under_it(sigma: float, level: float) -> None:
    noise = add_noise(torch.full((50, 1, 20, 20), level), sigma, Draws(0, 50)) - level
    assert stats.kstest((noise / sigma).flatten().numpy(), "norm").pvalue > 1e-3


def test_noise_is_each_samples_own() -> None:
    noise = add_noise(torch.zeros(4, 1, 8, 8), 0.3, Draws(0, 4))
    assert len(torch.unique(noise.flatten(1), dim=0)) == 4
    halves = [add_noise(torch.zeros(2, 1, 8, 8), 0.3, Draws(0, 4, rank, 2)) for rank in range(2)]
    assert torch.equal(torch.cat(halves), noise)
    assert torch.equal(add_noise(noise, 0.0, Draws(0, 4)), noise)


def published(images: np.ndarray, sigma: float, normal: np.ndarray) -> np.ndarray:
    """uint8 images, corrupted as arXiv 2410.19899's code does with NumPy: cast, then added with saturation.

    Through int64: C leaves the cast of a negative float to an unsigned byte open, and processors differ.
    """
    noise = (sigma * normal).astype(np.int64).astype(np.uint8)
    return np.minimum(images.astype(np.int64) + noise, 255).astype(np.uint8)


@pytest.mark.parametrize("sigma", [0.54, 2.0, 40.0, 300.0])
def test_bytes_of_noise_are_the_published_code_s(sigma: float) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    normal = Draws(4, 6).normal(3, 32, 32).numpy()
    found = add_uint8_noise(torch.from_numpy(images) / 255, sigma, Draws(4, 6))
    assert (found * 255).round().to(torch.uint8).numpy().tolist() == published(images, sigma, normal).tolist()
    assert found.min() >= 0
    assert found.max() <= 1


def test_bytes_of_noise_follow_numpy_s_law() -> None:
    """Frequencies of every grey level, against noise that NumPy itself drew and cast."""
    count = 2_000_000
    noise = np.random.default_rng(1).normal(0, 0.54, count).astype(np.int64).astype(np.uint8)
    spoilt = add_uint8_noise(torch.zeros(8, 1, 500, 500), 0.54, Draws(2, 8))
    levels = (spoilt * 255).round().to(torch.int64).flatten()
    table = np.stack([np.bincount(values, minlength=256) for values in (noise, levels.numpy())])
    table = table[:, table.sum(0) >= 10]
    assert stats.chi2_contingency(table).pvalue > 1e-3
    salt = stats.norm.cdf(-1 / 0.54)  # what lies at -1 or below wraps to the top of the range
    assert salt == pytest.approx(0.032, abs=5e-4)
    assert (levels >= 250).double().mean().item() == pytest.approx(salt, rel=0.02)
    unchanged = stats.norm.cdf(1 / 0.54) - salt
    assert (levels == 0).double().mean().item() == pytest.approx(unchanged, rel=2e-3)
