"""Features that predate pretext tasks, against scikit-image, scikit-learn and the papers' equations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.feature import hog
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from bench.data.batches import to_float
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.base import Method
from bench.methods.fitted import pooled_shape, sample_pool
from bench.methods.kmeans_patches import contrast_normalised, zca
from bench.methods.registry import build_method
from bench.study.methods import HogOptions, KmeansPatchesOptions, PcaPixelsOptions

Make = Callable[..., Method]
DIGITS = ImageShape(1, 8, 8)


def digits() -> np.ndarray:
    """uint8 [300, 8, 8, 1]."""
    return (load_digits().images[:300, :, :, None] * 15.9375).astype(np.uint8)


def fitted(name: str, seed: int = 0, shape: ImageShape = DIGITS, **options: object) -> Method:
    kinds = {"pca_pixels": PcaPixelsOptions, "kmeans_patches": KmeansPatchesOptions}
    method = build_method(name, kinds[name](**options), shape, [0.3] * shape.channels, [0.3] * shape.channels, seed)
    method.fit(digits(), np.arange(0, 300, 2), seed)
    return method


@pytest.mark.parametrize("shape", [ImageShape(1, 28, 28), ImageShape(3, 16, 24)])
def test_hog_is_that_of_scikit_image(make: Make, shape: ImageShape) -> None:
    images = torch.rand(3, *shape)
    encoder = make("hog", shape, orientations=6, cell_size=4).encoder()
    for image, found in zip(images, encoder(images), strict=True):
        expected = hog(image.permute(1, 2, 0).double().numpy(), 6, (4, 4), (2, 2), channel_axis=2)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("side", "cell"), [(8, 2), (28, 4), (32, 4), (64, 8), (224, 28)])
def test_cells_follow_the_image(side: int, cell: int) -> None:
    assert HogOptions().cell(side, side + 10) == cell


def test_edges_survive_a_change_of_light(make: Make) -> None:
    encoder, images = make("hog").encoder(), torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(encoder(0.5 * images + 0.2), encoder(images), rtol=0, atol=1e-3)


def test_a_block_larger_than_the_image_is_an_error() -> None:
    with pytest.raises(UserError, match=r"hog\.cell_size: a block of 2 cells of 5 pixels.*8 x 8.*valid.*2 to 4"):
        HogOptions(cell_size=5).check_shape(8, 8)


def test_pca_is_that_of_scikit_learn_and_white() -> None:
    method = fitted("pca_pixels", components=20)
    pixels = method.encoder().normalise(to_float(digits())).flatten(1).numpy()
    pool = np.arange(0, 300, 2)
    expected = PCA(20, whiten=True, svd_solver="full").fit(pixels[pool]).transform(pixels)
    found = method.encoder()(to_float(digits())).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-3)
    np.testing.assert_allclose(np.cov(found[pool].T), np.eye(20), atol=1e-3)


def test_directions_that_the_pool_does_not_span_are_zero() -> None:
    method = build_method("pca_pixels", PcaPixelsOptions(), DIGITS, [0.3], [0.3], 0)
    method.fit(digits(), np.arange(10), 0)
    features = method.encoder()(to_float(digits())).detach().numpy()
    assert features.shape == (300, 64)  # never more than pixels
    assert (features[:, :9].std(0) > 0.1).all()
    assert (features[:, 9:] == 0).all()


def test_pca_reads_no_seed_and_no_image_outside_the_pool() -> None:
    images, pool = digits(), np.arange(0, 300, 2)
    images[1::2] = 0
    other = build_method("pca_pixels", PcaPixelsOptions(components=20), DIGITS, [0.3], [0.3], 7)
    other.fit(images, pool, 7)
    expected = fitted("pca_pixels", components=20).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in other.state_dict().items())


def test_patches_are_normalised_and_decorrelated() -> None:
    patches = contrast_normalised(torch.rand(5000, 12) * torch.rand(5000, 1))
    assert patches.mean(1).abs().max() < 1e-5
    assert patches.var(1).median().item() == pytest.approx(1, abs=0.05)
    mean, whitening = zca(patches.double().numpy(), 1e-9)
    covariance = np.cov((patches.double().numpy() - mean) @ whitening, rowvar=False)
    values = np.linalg.eigvalsh(covariance)
    np.testing.assert_allclose(values[1:], 1, atol=1e-3)  # one direction, the mean, is gone
    np.testing.assert_allclose(whitening, whitening.T, atol=1e-6)
    assert (contrast_normalised(torch.full((1, 12), 0.4)) == 0).all()


def test_codes_are_the_triangle_of_the_paper() -> None:
    method = fitted("kmeans_patches", centroids=8, patches=600, patch=4)
    dictionary = method.encoder().backbone
    patch = torch.rand(12, 16)
    whitened = ((patch - dictionary.mean) @ dictionary.whitening).detach().numpy()
    distance = np.linalg.norm(whitened[:, None] - dictionary.centroids.detach().numpy(), axis=2)
    expected = np.maximum(0, distance.mean(1, keepdims=True) - distance)
    np.testing.assert_allclose(dictionary(patch).detach().numpy(), expected, atol=1e-4)


def test_features_are_means_over_quadrants() -> None:
    """Against plain loops over the places of the patches."""
    encoder = fitted("kmeans_patches", centroids=8, patches=600, patch=5).encoder()
    image = to_float(digits()[:1])
    with torch.no_grad():
        codes = torch.zeros(4, 4, 8)
        for top in range(4):
            for left in range(4):
                patch = image[:, :, top : top + 5, left : left + 5].flatten(1)
                codes[top, left] = encoder.backbone(contrast_normalised(patch))[0]
        found = encoder(image).view(8, 2, 2)
    for row in range(2):
        for column in range(2):
            expected = codes[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean((0, 1))
            torch.testing.assert_close(found[:, row, column], expected, rtol=0, atol=1e-5)


def test_large_images_are_pooled_first_and_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = ImageShape(3, 48, 64)
    assert pooled_shape(shape, 32) == (3, 32, 43)
    assert pooled_shape(DIGITS, 32) == DIGITS
    method = build_method(
        "kmeans_patches", KmeansPatchesOptions(centroids=8, patches=300), shape, [0.4] * 3, [0.2] * 3, 0
    )
    images = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), np.uint8)
    method.fit(images, np.arange(12), 0)
    whole = method.encoder()(to_float(images))
    monkeypatch.setattr("bench.methods.kmeans_patches.ACTIVATIONS", 1)
    torch.testing.assert_close(method.encoder()(to_float(images)), whole)
    assert whole.shape == (12, 32)


def test_another_seed_is_another_dictionary() -> None:
    first, again, other = (
        fitted("kmeans_patches", seed, centroids=8, patches=600).encoder().backbone.centroids for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match=r"kmeans_patches\.patches: 100 patches cannot make 256 centroids"):
        KmeansPatchesOptions(patches=100)
    with pytest.raises(UserError, match=r"kmeans_patches\.patch: patches of 8 pixels.*8 pixels.*2 to 7"):
        KmeansPatchesOptions(patch=8).check_shape(8, 12)
    KmeansPatchesOptions(patch=7).check_shape(8, 12)


def test_a_sample_of_the_pool_is_named_by_its_seed() -> None:
    pool = np.arange(100, 200)
    assert (sample_pool(pool, 100, "a") == pool).all()
    first = sample_pool(pool, 10, "a")
    assert (first == sample_pool(pool, 10, "a")).all()
    assert len(set(first)) == 10
    assert (first != sample_pool(pool, 10, "b")).any()


# version, and mean magnitude of the features of the first digits
GOLDEN = {"hog": (1, 0.0807521), "pca_pixels": (1, 0.795108), "kmeans_patches": (1, 0.290693)}


@pytest.mark.parametrize("name", GOLDEN)
def test_numbers_are_those_of_the_version(name: str, make: Make) -> None:
    method = make("hog") if name == "hog" else fitted(name)
    kind = {"hog": HogOptions, "pca_pixels": PcaPixelsOptions, "kmeans_patches": KmeansPatchesOptions}[name]
    version, magnitude = GOLDEN[name]
    assert kind.version == version, "record the new version's numbers here"
    with torch.no_grad():
        found = method.encoder()(to_float(digits()[:50])).abs().mean().item()
    assert found == pytest.approx(magnitude, rel=1e-2), "numbers changed: bump the version"
