"""The network of few-shot segmentation: published sizes, and every step beside plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench.protocols.correlation import correlate, support_tokens
from bench.protocols.cst import (
    HEADS,
    PUBLISHED_CHANNELS,
    PUBLISHED_PARAMETERS,
    Cst,
    Pointwise,
    SupportBlock,
    attended,
    pooling,
    squeezed,
    visible,
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network(channels: int = 4, grid: tuple[int, int] = (4, 4), support: tuple[int, int] = (4, 4)) -> Cst:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Cst(channels, grid, support).eval()


def test_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        cst = Cst(PUBLISHED_CHANNELS, (50, 50), (12, 12))
    parts = [*cst.blocks, cst.linear, cst.presence, cst.mask]
    counts = [sum(parameter.numel() for parameter in part.parameters()) for part in parts]
    assert counts == [7_664, 36_288, 33_536, 29_058, 259_458]
    assert sum(parameter.numel() for parameter in cst.parameters()) == PUBLISHED_PARAMETERS == 366_004


@pytest.mark.parametrize(
    ("grid", "sizes"), [((12, 12), [145, 10, 2]), ((8, 8), [65, 5, 2]), ((4, 6), [25, 3, 2]), ((2, 2), [5, 2, 2])]
)
@torch.no_grad()
def test_support_tokens_are_squeezed_to_two(grid: tuple[int, int], sizes: list[int]) -> None:
    cst = network(6, (3, 5), grid)
    tokens, masks = random(2, 6, 15, sizes[0]), torch.ones(2, 24, 24, dtype=torch.bool)
    assert [state.shape[3] for state in cst.squeeze(tokens, masks)] == sizes
    presence, maps = cst(tokens, masks)
    assert presence.shape == (2, 2)
    assert maps.shape == (2, 2, 6, 10)


def test_pooling_is_average_pooling_of_the_patches() -> None:
    tokens = random(2, 3, 5, 145)
    images = tokens[..., 1:].flatten(0, 2).view(-1, 1, 12, 12)
    for size, kernel in (((3, 3), 4), ((1, 1), 12)):
        pooled = tokens @ pooling((12, 12), size)
        expected = functional.avg_pool2d(images, kernel, kernel).view(2, 3, 5, -1)
        torch.testing.assert_close(pooled[..., 1:], expected)
        torch.testing.assert_close(pooled[..., 0], tokens[..., 0])
    assert squeezed((12, 12)) == (3, 3)
    assert squeezed((3, 3)) == (1, 1)


@torch.no_grad()
def test_an_empty_support_mask_leaves_the_class_token_alone() -> None:
    block, tokens = SupportBlock(4, 16 * 2), random(2, 4, 6, 17)
    seen = attended(torch.zeros(2, 20, 20, dtype=torch.bool), (4, 4))
    assert seen.sum(1).tolist() == [1, 1]
    pooled = tokens @ pooling((4, 4), (2, 2))
    mixed = block.attend(tokens, pooled, seen)
    expected = block.value(tokens)[..., :1].expand_as(mixed)
    torch.testing.assert_close(mixed, expected)


@torch.no_grad()
def test_patches_outside_the_mask_are_not_attended_to() -> None:
    block, tokens = SupportBlock(4, 32), random(1, 4, 6, 17)
    masks = torch.zeros(1, 16, 16, dtype=torch.bool)
    masks[0, 0, 5] = True  # one pixel is enough: cell 1 of the first row
    seen = attended(masks, (4, 4))
    assert seen.nonzero()[:, 1].tolist() == [0, 2]
    pooled, changed = tokens @ pooling((4, 4), (2, 2)), tokens.clone()
    changed[..., 3:] = 9.0
    torch.testing.assert_close(block.attend(tokens, pooled, seen), block.attend(changed, pooled, seen))
    changed[..., 2] = 9.0
    assert not torch.allclose(block.attend(tokens, pooled, seen), block.attend(changed, pooled, seen))


def test_columns_that_nobody_sees_are_left_out_and_the_others_stay_in_order() -> None:
    tokens, seen = random(2, 3, 4, 6), torch.tensor([[1, 0, 0, 1, 0, 1], [1, 0, 1, 0, 0, 0]]).bool()
    left, marked = visible(tokens, seen)
    assert left.shape == (2, 3, 4, 3)
    assert marked.tolist() == [[True, True, True], [True, True, False]]
    assert torch.equal(left[0], tokens[0][..., [0, 3, 5]])
    assert torch.equal(left[1][..., :2], tokens[1][..., [0, 2]])
    assert visible(tokens, torch.ones_like(seen))[0] is tokens


@torch.no_grad()
def test_attention_does_not_depend_on_what_the_rest_of_the_batch_sees() -> None:
    block, tokens, seen = SupportBlock(4, 32), random(3, 4, 6, 17), random(3, 17, seed=1) > 0.5
    seen[:, 0] = True
    seen[2] = True  # so that no column is left out of the batch
    pooled = tokens @ pooling((4, 4), (1, 1))
    together = block.attend(tokens, pooled, seen)
    for number in range(3):
        one = slice(number, number + 1)
        torch.testing.assert_close(block.attend(tokens[one], pooled[one], seen[one]), together[one])


def test_a_pointwise_layer_is_a_convolution_of_1_by_1() -> None:
    layer, tokens = Pointwise(5, 7), random(2, 5, 3, 4).requires_grad_()
    found, expected = layer(tokens), functional.conv2d(tokens, layer.weight, layer.bias)
    torch.testing.assert_close(found, expected)
    sources, probe = (tokens, layer.weight, layer.bias), random(*found.shape, seed=1)
    gradients = (torch.autograd.grad((result * probe).sum(), sources) for result in (found, expected))
    torch.testing.assert_close(*gradients)


@torch.no_grad()
def test_attention_is_that_of_plain_loops() -> None:
    block, tokens, seen = (
        SupportBlock(5, 32),
        random(2, 5, 3, 10),
        random(2, 10, seed=1) > 0,
    )
    seen[:, 0] = True
    pool = pooling((3, 3), (1, 1))
    query = block.query(tokens) @ pool  # convolved first, pooled then, as it is written in the paper
    key, value, width = block.key(tokens), block.value(tokens), 16 // HEADS
    expected = torch.zeros(2, 16, 3, 2)
    for n, head, patch, out in np.ndindex(2, HEADS, 3, 2):
        own = slice(head * width, (head + 1) * width)
        logits = [float(query[n, own, patch, out] @ key[n, own, patch, column]) for column in range(10)]
        weights = np.where(seen[n].numpy(), np.exp(logits), 0)
        for column, weight in enumerate(weights / weights.sum()):
            expected[n, own, patch, out] += weight * value[n, own, patch, column]
    torch.testing.assert_close(block.attend(tokens, tokens @ pool, seen), expected, rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_finite_differences() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block = SupportBlock(2, 32).double()
    tokens = random(1, 2, 2, 5).double().requires_grad_()
    seen = torch.tensor([[True, True, False, True, False]])
    pool = pooling((2, 2), (1, 1)).double()
    assert torch.autograd.gradcheck(lambda x: block(x, seen, pool)[:, ::11], (tokens,), atol=1e-4)


@torch.no_grad()
def test_samples_and_ways_do_not_see_each_other() -> None:
    cst, tokens, masks = network(), random(3, 4, 16, 17), random(3, 12, 12) > 0
    together, order = cst(tokens, masks), torch.tensor([2, 0, 1])
    for permuted, expected in zip(cst(tokens[order], masks[order]), together, strict=True):
        torch.testing.assert_close(permuted, expected[order], rtol=1e-4, atol=1e-5)


def test_correlation_is_the_cosine_of_every_head() -> None:
    query, support = random(2, 3, 4, 6), random(2, 3, 5, 6, seed=1)
    found = correlate(query, support, heads=2)
    assert found.shape == (2, 6, 4, 5)
    for n, block, head, q, s in np.ndindex(2, 3, 2, 4, 5):
        left, right = query[n, block, q, 3 * head : 3 * head + 3], support[n, block, s, 3 * head : 3 * head + 3]
        cosine = left @ right / left.norm() / right.norm()
        torch.testing.assert_close(found[n, 2 * block + head, q, s], cosine)


def test_support_tokens_are_resampled_corner_on_corner() -> None:
    tokens = random(2, 3, 1 + 5 * 7, 4)
    resampled = support_tokens(tokens, (5, 7), (3, 4))
    assert resampled.shape == (2, 3, 13, 4)
    torch.testing.assert_close(resampled[:, :, 0], tokens[:, :, 0])
    grid, small = tokens[:, :, 1:].unflatten(2, (5, 7)), resampled[:, :, 1:].unflatten(2, (3, 4))
    torch.testing.assert_close(small[:, :, ::2, ::3], grid[:, :, ::4, ::6])  # the corners stay
    torch.testing.assert_close(small[:, :, 1, 0], grid[:, :, 2, 0])  # and so does the middle of a side
    torch.testing.assert_close(small[:, :, 0, 1], grid[:, :, 0, 2])
    assert support_tokens(tokens, (5, 7), (5, 7)) is tokens
