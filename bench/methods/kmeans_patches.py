"""Single-layer features of whitened patches and a K-means dictionary (Coates, Lee & Ng, AISTATS 2011)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn
from torch.nn import functional

from bench.data.shape import ImageShape
from bench.methods.feature_maps import Encoder, LayerInfo
from bench.methods.fitted import Fitted, area_pool, pooled_shape, read_pooled, sample_pool
from bench.seeds import named_seed
from bench.study.methods import KmeansPatchesOptions

CONTRAST = 10 / 255**2  # added to a patch's variance before division (section 3.2.1: 10, for bytes)
QUADRANTS = 2
IMAGES = 10_000  # that patches are taken from, at most
ACTIVATIONS = 1 << 25  # floats of activations at once: 128 MiB
BATCH, PASSES = 4096, 20  # of mini-batch K-means


class Dictionary(nn.Module):
    """ZCA whitening [d, d] about a mean [d], and the centroids [K, d] of whitened patches."""

    def __init__(self, dim: int, centroids: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(dim))
        self.whitening = nn.Parameter(torch.zeros(dim, dim))
        self.centroids = nn.Parameter(torch.zeros(centroids, dim))

    def whiten(self, patches: Tensor) -> Tensor:
        """Contrast-normalised patches [..., d] decorrelated; [..., d]."""
        return (patches - self.mean) @ self.whitening

    def forward(self, patches: Tensor) -> Tensor:
        """The "triangle" code [..., K]: how much nearer than average each centroid is, else zero (section 3.2.2)."""
        whitened = self.whiten(patches)
        squared = whitened.square().sum(-1, keepdim=True) + self.centroids.square().sum(-1)
        distance = (squared - 2 * whitened @ self.centroids.T).clamp(min=1e-12).sqrt()
        return (distance.mean(-1, keepdim=True) - distance).clamp(min=0)


class KmeansEncoder(Encoder):
    """Codes of all patches, averaged over the image's quadrants; its one layer is "kmeans_patches"."""

    backbone: Dictionary

    def __init__(
        self,
        shape: ImageShape,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        centroids: int,
        patch: int,
        stride: int,
        size: int,
    ) -> None:
        super().__init__(
            Dictionary(shape.channels * patch * patch, centroids),
            shape,
            mean,
            std,
            layers={"kmeans_patches": LayerInfo(centroids * QUADRANTS**2, max(shape.height, shape.width))},
            default_layer="kmeans_patches",
            arguments={"centroids": centroids, "patch": patch, "stride": stride, "size": size},
        )
        self.pooled, self.patch, self.stride = pooled_shape(shape, size), patch, stride
        self.places = tuple((side - patch) // stride + 1 for side in self.pooled[1:])

    def maps(self, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        rows = max(1, ACTIVATIONS // (len(self.backbone.centroids) * self.places[0] * self.places[1]))
        coded = [self.code(part) for part in self.denormalise(images).split(rows)]  # contrast is per patch
        return {"kmeans_patches": torch.cat(coded)[:, :, None, None]}

    def code(self, images: Tensor) -> Tensor:
        """Features [N, 4 K] of images [N, C, H, W] in [0, 1]."""
        patches = functional.unfold(area_pool(images, self.pooled), self.patch, stride=self.stride).mT
        codes = self.backbone(contrast_normalised(patches)).mT.unflatten(2, self.places)
        return functional.adaptive_avg_pool2d(codes, QUADRANTS).flatten(1)


class KmeansPatches(Fitted):
    """A dictionary of whitened patches, learned by K-means from unlabelled images."""

    backbone: KmeansEncoder

    def __init__(
        self, options: KmeansPatchesOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        options.check_shape(shape.height, shape.width)
        super().__init__(
            KmeansEncoder(
                shape,
                mean,
                std,
                centroids=options.centroids,
                patch=options.patch,
                stride=options.stride,
                size=options.size,
            )
        )
        self.options = options

    def fit(self, images: np.ndarray, pool: np.ndarray, seed: int) -> None:
        """Whitening and dictionary from `options.patches` random patches of train-pool images, chosen by the seed."""
        patches = contrast_normalised(self.sample(images, pool, seed)).double().numpy()
        mean, whitening = zca(patches, self.options.whitening)
        means = MiniBatchKMeans(
            self.options.centroids,
            batch_size=BATCH,
            max_iter=PASSES,
            n_init=1,
            random_state=named_seed(seed, "centroids") % 2**32,
        ).fit((patches - mean) @ whitening)
        dictionary = self.backbone.backbone
        with torch.no_grad():
            dictionary.mean.copy_(torch.from_numpy(mean))
            dictionary.whitening.copy_(torch.from_numpy(whitening))
            dictionary.centroids.copy_(torch.from_numpy(means.cluster_centers_))

    def sample(self, images: np.ndarray, pool: np.ndarray, seed: int) -> Tensor:
        """Random patches float32 [patches, C * patch * patch] in [0, 1], from at most IMAGES images."""
        encoder, count = self.backbone, self.options.patches
        _, height, width = encoder.pooled
        generator = np.random.default_rng(named_seed(seed, "patches"))
        chosen = sample_pool(pool, IMAGES, seed, "images")
        image = generator.integers(0, len(chosen), count)
        top = generator.integers(0, height - encoder.patch + 1, count)
        left = generator.integers(0, width - encoder.patch + 1, count)
        windows = read_pooled(images, chosen, encoder.pooled).unfold(2, encoder.patch, 1).unfold(3, encoder.patch, 1)
        return windows[image, :, top, left].flatten(1)


def contrast_normalised(patches: Tensor) -> Tensor:
    """Patches [..., d] in [0, 1] with mean zero and, but for a floor under flat ones, variance one (section 3.2.1)."""
    variance, mean = torch.var_mean(patches, -1, keepdim=True)
    return (patches - mean) * torch.rsqrt(variance + CONTRAST)


def zca(patches: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean [d] of the patches [n, d], and the symmetric matrix [d, d] that decorrelates them.

    Args:
        floor: added to the eigenvalues of the covariance, so that directions of noise are not blown up.
    """
    values, axes = np.linalg.eigh(np.cov(patches, rowvar=False))
    return patches.mean(0), (axes / np.sqrt(values.clip(min=0) + floor)) @ axes.T
