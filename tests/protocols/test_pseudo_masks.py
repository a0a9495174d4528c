"""Masks without labels of pixels, and the tokens they are made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import median_filter
from skimage.filters import threshold_otsu

from bench.data.batches import to_float
from bench.data.catalog import Dataset
from bench.methods.attention import block_tokens, last_attention
from bench.methods.encoder import Encoder
from bench.protocols.few_shot_data import EXCLUDED
from bench.protocols.few_shot_training import train_enhancer
from bench.protocols.pseudo_masks import median, similarity, threshold
from bench.protocols.tokens import TokenStore
from bench.study.methods import RandomInitOptions
from bench.study.protocols import FewShotOptions
from tests.protocols.conftest import build
from tests.protocols.shapes import SIDE, pairs, squares


@pytest.fixture(scope="module")
def data() -> Dataset:
    return squares(96, SIDE)


@pytest.fixture(scope="module")
def vit(data: Dataset) -> Encoder:
    return build(data, RandomInitOptions(encoder="vit_nano", patch_size=4))


def test_ignored_and_hidden_pixels_count_nowhere_unless_as_published(data: Dataset, vit: Encoder) -> None:
    image = next(i for i in range(0, 96, 4) if (data.images.masks[i] == 255).any())
    label = int(data.images.labels[image])
    query, labels = np.array([image]), np.array([label])
    masks = data.images.masks[image]
    targets = pairs(data, vit).targets(query, labels, query)[0].numpy()
    np.testing.assert_array_equal(targets, np.where(masks == 255, EXCLUDED, masks == label))
    published = pairs(data, vit, ignore="as_published").targets(query, labels, query)[0].numpy()
    np.testing.assert_array_equal(published, masks == label)
    hidden = replace(pairs(data, vit), hidden=(0,)).targets(query, labels, query)[0].numpy()
    np.testing.assert_array_equal(hidden == EXCLUDED, np.isin(masks, [0, 255]))


def test_pseudo_masks_are_the_published_ones(data: Dataset, vit: Encoder) -> None:
    weak = pairs(data, vit, known=False)
    marker, images = np.array([0, 1, 2]), np.array([6, 13, 2])
    q, k, _ = last_attention(vit, to_float(data.images.images[np.concatenate([marker, images])]))
    expected = torch.zeros(3, 6, 6)
    for n, row, column in np.ndindex(3, 6, 6):
        key = k[3 + n, :, 1 + 6 * row + column]
        heads = [torch.cosine_similarity(q[n, head, 0], key[head], dim=0) for head in range(2)]
        expected[n, row, column] = (1 + sum(heads) / 2) / 2
    maps = weak.similarities(marker, images).mean(1)
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-3)  # kept in half precision
    large = torch.nn.functional.interpolate(maps[:, None], (SIDE, SIDE), mode="bilinear")[:, 0]
    limit = float(large.median())
    some = pairs(data, vit, known=False, pseudo_threshold=limit)
    assert torch.equal(some.pseudo_masks(marker, images), large > limit)


def test_the_image_level_label_empties_the_pseudo_mask_of_an_absent_class(data: Dataset, vit: Encoder) -> None:
    weak = pairs(data, vit, known=False)
    image, label = np.array([0]), np.array([int(data.images.labels[0])])
    assert weak.targets(image, label, np.array([6])).sum() > 0
    assert weak.targets(image, label % 6 + 1, np.array([1])).sum() == 0
    assert not (weak.targets(image, label, np.array([6])) == EXCLUDED).any()  # what to ignore is not known either


@pytest.mark.parametrize("query", ["support", "own"])
def test_whose_class_token_marks_the_query(data: Dataset, vit: Encoder, query: str) -> None:
    weak = pairs(data, vit, known=False, pseudo_query=query, pseudo_threshold="otsu")
    image, label, support = np.array([0]), np.array([int(data.images.labels[0])]), np.array([6])
    marker = support if query == "support" else image
    assert torch.equal(weak.targets(image, label, support) == 1, weak.pseudo_masks(marker, image))


def test_softmax_attention_over_all_blocks_is_relative_to_its_peak(data: Dataset, vit: Encoder) -> None:
    weak = pairs(data, vit, known=False, pseudo_similarity="softmax", pseudo_layers="all")
    images = np.array([3, 4])
    tokens = weak.tokens(images)
    assert tokens.queries.shape[1] == 2
    found = weak.similarities(images, images).mean(1)
    assert found.flatten(1).amax(1).tolist() == pytest.approx([1, 1], abs=1e-5)
    last = last_attention(vit, to_float(data.images.images[images])).probabilities()[:, :, 0, 1:]
    alone = similarity(tokens.queries[:, 1:], tokens.keys[:, 1:], "softmax").mean(1)
    expected = (last / last.sum(-1, keepdim=True)).mean(1)
    torch.testing.assert_close(alone, expected / expected.amax(-1, keepdim=True), rtol=5e-3, atol=5e-3)


def test_threshold_and_smoothing_are_those_of_the_libraries() -> None:
    maps = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0))
    smooth = median(maps, 5)
    for found, picture in zip(smooth.numpy(), maps.numpy(), strict=True):
        np.testing.assert_array_equal(found, median_filter(picture, 5, mode="mirror"))
    masks = threshold(maps, FewShotOptions(pseudo_threshold="otsu", pseudo_smoothing=5))
    for mask, picture in zip(masks.numpy(), smooth.numpy(), strict=True):
        np.testing.assert_array_equal(mask, picture > threshold_otsu(picture))
    assert torch.equal(threshold(maps, FewShotOptions(pseudo_threshold=0.7)), maps > 0.7)


def test_the_enhancer_learns_from_a_few_masks(data: Dataset, vit: Encoder) -> None:
    weak = pairs(data, vit, known=False, enhancer_steps=60, batch_size=8, pseudo_threshold="otsu")
    pool = data.splits.train
    better = train_enhancer(weak, pool[:18], pool, range(1, 7), seed=0)
    assert better.enhancer is not None
    rest, labels = pool[18:], data.images.labels[pool[18:]]
    truth = weak.true_masks(rest, labels)[0]
    plain, enhanced = (part.support_masks(rest, labels) for part in (weak, better))
    iou = [float((part & truth).sum() / (part | truth).sum()) for part in (plain, enhanced)]
    assert iou[1] > 1.3 * iou[0]


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_tokens_are_the_same_whatever_fits_the_quota(data: Dataset, vit: Encoder, share: float) -> None:
    used, images = data.splits.train, data.images.images
    size = 2 * (2 * 37 * 64 + 2 * 32 + 2 * 36 * 32)  # bytes of one image: tokens, queries and keys in half precision
    store = TokenStore(vit, images, used, "last", share * len(used) * size / 1e9, "cpu")
    assert store.kept == pytest.approx(share * len(used), abs=1)
    indices = np.array([used[-1], used[0], used[-1], used[20], data.splits.test[0]])
    tokens = store(indices)
    expected = torch.stack(block_tokens(vit, to_float(images[indices])), 1)
    torch.testing.assert_close(tokens.blocks, expected, rtol=2e-3, atol=2e-3)
    q, k, _ = last_attention(vit, to_float(images[indices]))
    torch.testing.assert_close(tokens.queries[:, 0], q[:, :, 0], rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(tokens.keys[:, 0], k[:, :, 1:], rtol=2e-3, atol=2e-3)
