"""Features: encoded once, standardised by the train pool alone, collapse noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from bench.data.batches import to_float
from bench.data.catalog import Dataset
from bench.methods.encoder import Encoder
from bench.protocols.features import Features, effective_rank, encode


class Counter:
    """An encoder that remembers what it was asked, and scales what it says."""

    def __init__(self, encoder: Encoder, scale: float = 1.0) -> None:
        self.encoder, self.scale = encoder, scale
        self.asked: set[tuple[str, ...]] = set()
        self.calls = 0

    def to(self, device: str) -> Counter:
        return self

    def eval(self) -> Counter:
        return self

    def embed(self, images: Tensor, layers: list[str]) -> dict[str, Tensor]:
        self.asked.add(tuple(layers))
        self.calls += 1
        return {layer: self.scale * values for layer, values in self.encoder.embed(images, layers).items()}


def test_features_are_the_encoders(digits: Dataset, conv: Encoder, tmp_path: Path) -> None:
    features = encode(conv, digits, ["stage2", "stage5"], tmp_path, "key", batch=500)
    direct = conv.embed(to_float(digits.images.images[:7]), ["stage2"])["stage2"].detach().numpy()
    assert features.layer("stage2").dtype == np.float16
    assert len(features.layer("stage5")) == len(digits.images.labels)
    np.testing.assert_allclose(features.layer("stage2")[:7], direct, rtol=2e-3, atol=1e-3)


def test_only_missing_layers_are_encoded(digits: Dataset, conv: Encoder, tmp_path: Path) -> None:
    counter = Counter(conv)
    encode(counter, digits, ["stage1"], tmp_path, "key")
    encode(counter, digits, ["stage1", "stage2"], tmp_path, "key")
    assert counter.asked == {("stage1",), ("stage2",)}
    before = counter.calls
    encode(counter, digits, ["stage2", "stage1"], tmp_path, "key")
    assert counter.calls == before


def test_standardisation_uses_the_train_pool_alone() -> None:
    numbers = np.random.default_rng(0)
    values = numbers.normal(3, 5, size=(100, 4)).astype(np.float16)
    values[:, 2] = 7  # constant
    values[60:, 3] = 100
    features = Features({"last": values}, np.arange(60))
    standard = features.standardised("last")
    np.testing.assert_allclose(standard[:60, :2].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(standard[:60, :2].std(0), 1, atol=1e-6)
    assert (standard[:, 2] == 0).all()
    assert standard[60, 3] > 10


def test_effective_rank_of_known_spectra() -> None:
    numbers = np.random.default_rng(0)
    basis = np.linalg.qr(numbers.normal(size=(64, 8)))[0]
    basis = np.linalg.qr(basis - basis.mean(0))[0]
    assert effective_rank(basis) == pytest.approx(8, rel=0.02)
    assert effective_rank(np.outer(basis[:, 0], numbers.normal(size=20))) == pytest.approx(1)
    assert effective_rank(np.full((50, 4), 0.3)) == 1.0


def test_collapse_is_reported() -> None:
    numbers = np.random.default_rng(0)
    line = np.outer(numbers.normal(size=200), numbers.normal(size=16))
    train = np.arange(200)
    assert Features({"last": line.astype(np.float16)}, train).status("last")[0] == "collapsed"
    brightness = Features({"last": (line + 0.05 * numbers.normal(size=line.shape)).astype(np.float16)}, train)
    assert brightness.rank("last") < 1.5  # one direction carries nearly all, and what is left can be read
    assert brightness.status("last") == ("ok", "")
    assert Features({"last": numbers.normal(size=(200, 16)).astype(np.float16)}, train).status("last") == ("ok", "")


def test_overflow_is_an_error_and_leaves_nothing(digits: Dataset, conv: Encoder, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="stage1"):
        encode(Counter(conv, scale=1e9), digits, ["stage1"], tmp_path, "key")
    assert not list(tmp_path.glob("artifacts/features/*"))
