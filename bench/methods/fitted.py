"""Features fitted to the unlabelled train pool without a loss: what such methods share."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor
from torch.nn import functional

from bench.data.batches import to_float
from bench.data.shape import ImageShape
from bench.methods.base import Untrained
from bench.seeds import named_seed

BATCH = 512
_NEGLIGIBLE = 1e-10  # variance relative to the largest, below which a direction holds rounding only


class Fitted(Untrained):
    """A method whose encoder is computed from train-pool images, at once and without labels."""

    fits: ClassVar[bool] = True


def pooled_shape(shape: ImageShape, size: int) -> ImageShape:
    """The shape after area-pooling to a short side of `size` pixels; smaller images keep theirs."""
    short = min(shape.height, shape.width)
    if short <= size:
        return shape
    return ImageShape(shape.channels, round(shape.height * size / short), round(shape.width * size / short))


def area_pool(images: Tensor, shape: ImageShape) -> Tensor:
    """Images [N, C, H, W] as means over areas, at the height and width of the shape."""
    if images.shape[-2:] == (shape.height, shape.width):
        return images
    return functional.adaptive_avg_pool2d(images, (shape.height, shape.width))


def sample_pool(pool: np.ndarray, count: int, *names: object) -> np.ndarray:
    """At most `count` of the pool's indices, without repetition, sorted; which ones depends on the names alone."""
    if len(pool) <= count:
        return np.sort(pool)
    generator = np.random.default_rng(named_seed(*names))
    return np.sort(generator.choice(pool, count, replace=False))


def read_pooled(images: np.ndarray, indices: np.ndarray, shape: ImageShape) -> Tensor:
    """Stored images uint8 [N, H, W, C] as area-pooled float32 [n, C, h, w] in [0, 1], read a batch at a time."""
    batches = np.split(indices, range(BATCH, len(indices), BATCH))
    return torch.cat([area_pool(to_float(images[batch]), shape) for batch in batches])


def whitening(rows: np.ndarray, components: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The leading principal directions of the rows, each scaled to variance one, as a map `rows @ weight.T + bias`.

    Args:
        rows: float [N, D].
        components: directions, at most; those that the rows do not span are left out.
        seed: of the solver.

    Returns:
        weight float64 [at most components, D] and bias.
    """
    pca = PCA(min(components, *rows.shape), random_state=seed % 2**32).fit(rows)
    spanned = pca.explained_variance_ > _NEGLIGIBLE * pca.explained_variance_[0]
    whitened = pca.components_[spanned] / np.sqrt(pca.explained_variance_[spanned])[:, None]
    weight = whitened.astype(np.float64)
    return weight, -weight @ pca.mean_
