"""Joint heads: what attention attends to, what the gate mixes, and the published sizes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.protocols.fusion_heads import CrossAttention, Gated, JointHead, build_head
from bench.protocols.fusion_inputs import positions

PARTNER, LAYER, WIDTH, CLASSES = 6, 5, 8, 4


def head_of(fuse: str, head: str = "linear", layer: int = LAYER) -> JointHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_head(fuse, head, PARTNER, layer, WIDTH, CLASSES)


def tokens(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def attention() -> CrossAttention:
    join = head_of("cross_attention").join
    assert isinstance(join, CrossAttention)
    return join


def test_attention_is_over_positions(attention: CrossAttention) -> None:
    partner, layer = tokens(2, 9, PARTNER), tokens(2, 7, LAYER, seed=2)
    joined = attention(partner, layer)
    assert joined.shape == (2, WIDTH)
    shuffled = layer[:, torch.randperm(7, generator=torch.Generator().manual_seed(3))]
    torch.testing.assert_close(attention(partner, shuffled), joined)
    changed = layer.clone()
    changed[:, 3] += 1
    assert not torch.allclose(attention(partner, changed), joined)


def test_attention_learns_what_to_attend_to(attention: CrossAttention) -> None:
    attention(tokens(2, 9, PARTNER), tokens(2, 7, LAYER, seed=2)).square().sum().backward()
    for part in (attention.query, attention.key, attention.value, attention.out):
        assert part is not None
        assert part.weight.grad is not None
        assert part.weight.grad.abs().max() > 1e-6


def test_attention_over_one_position_is_no_attention(attention: CrossAttention) -> None:
    """The published form: a softmax over an axis of length one gives one, and its weights learn nothing."""

    class Published(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.score = nn.Linear(LAYER, WIDTH), nn.Linear(WIDTH, 1)

        def forward(self, vector: Tensor) -> Tensor:
            one = vector[:, None]
            weights = torch.softmax(self.score(torch.tanh(self.inner(one))), dim=1)
            return (weights * one).sum(1)

    published, vector = Published(), tokens(3, LAYER)
    torch.testing.assert_close(published(vector), vector)
    published(vector).square().sum().backward()
    assert all(parameter.grad.abs().max() == 0 for parameter in published.parameters())
    # ours at a single position degenerates likewise, which is why maps are joined rather than vectors
    attention(tokens(2, 9, PARTNER), tokens(2, 1, LAYER)).square().sum().backward()
    assert attention.query.weight.grad.abs().max() < 1e-9


def test_attention_is_torchs_multihead_attention(attention: CrossAttention) -> None:
    reference = nn.MultiheadAttention(WIDTH, 4, kdim=LAYER, vdim=LAYER, batch_first=True)
    with torch.no_grad():
        reference.q_proj_weight.copy_(attention.query.weight)
        reference.k_proj_weight.copy_(attention.key.weight)
        reference.v_proj_weight.copy_(attention.value.weight)
        biases = [attention.query.bias, attention.key.bias, attention.value.bias]
        reference.in_proj_bias.copy_(torch.cat(biases))
        reference.out_proj.weight.copy_(attention.out.weight)
        reference.out_proj.bias.copy_(attention.out.bias)
        partner, layer = tokens(2, 9, PARTNER), tokens(2, 7, LAYER, seed=2)
        queries = attention.partner(partner)
        expected = attention.norm(queries + reference(queries, layer, layer, need_weights=False)[0]).mean(1)
        torch.testing.assert_close(attention(partner, layer), expected)


def test_a_gate_mixes_the_two() -> None:
    gated = head_of("gated").join
    assert isinstance(gated, Gated)
    partner, layer = tokens(3, 1, PARTNER), tokens(3, 1, LAYER, seed=2)
    with torch.no_grad():
        ours, other = torch.tanh(gated.partner(partner[:, 0])), torch.tanh(gated.layer(layer[:, 0]))
        mixed = gated(partner, layer)
        assert ((mixed - ours) * (mixed - other) <= 1e-6).all()  # between the two, channel by channel
        gated.gate.weight.zero_()
        gated.gate.bias.fill_(30.0)
        torch.testing.assert_close(gated(partner, layer), ours)
        gated.gate.bias.fill_(-30.0)
        torch.testing.assert_close(gated(partner, layer), other)


def test_the_published_head_has_the_published_sizes() -> None:
    """A U-Net bottleneck of 512 and B7's 1280: 1792-512-ReLU-64-ReLU-10."""
    head = build_head("concat", "mlp", 1280, 512, WIDTH, 10)
    linear = [part for part in head.modules() if isinstance(part, nn.Linear)]
    assert [(part.in_features, part.out_features) for part in linear] == [(1792, 512), (512, 64), (64, 10)]
    assert sum(isinstance(part, nn.ReLU) for part in head.modules()) == 2
    vectors = torch.arange(4.0).view(1, 1, 4), 10 + torch.arange(3.0).view(1, 1, 3)
    joined = build_head("concat", "linear", 4, 3, WIDTH, 2).join(*vectors)
    assert joined.tolist() == [[10, 11, 12, 0, 1, 2, 3]]  # the layer first


@pytest.mark.parametrize("fuse", ["concat", "gated", "cross_attention"])
@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_every_parameter_learns_with_and_without_a_layer(fuse: str, head: str) -> None:
    for width, layer in ((LAYER, tokens(3, 7, LAYER, seed=2)), (0, None)):
        model = head_of(fuse, head, width)
        logits = model(tokens(3, 9, PARTNER), layer)
        assert logits.shape == (3, CLASSES)
        nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
        # a key's bias shifts all scores of a query alike: the softmax does not see it
        unread = {"join.key.bias"}
        silent = [name for name, p in model.named_parameters() if p.grad is None or (p.grad == 0).all()]
        assert set(silent) <= unread


def test_positions_are_pooled_to_a_grid() -> None:
    features = tokens(2, 3, 8, 12)
    assert positions(features, 12).shape == (2, 96, 3)
    torch.testing.assert_close(positions(features, 12)[:, 13], features[:, :, 1, 1])
    pooled = positions(features, 4)
    assert pooled.shape == (2, 16, 3)
    torch.testing.assert_close(pooled[:, 0], features[:, :, :2, :3].mean((2, 3)))
    torch.testing.assert_close(pooled.mean(1), features.mean((2, 3)))
