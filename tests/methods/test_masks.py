"""Masks over frozen weights: the formulas, the theorems of the paper, the published counts."""

from __future__ import annotations

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.encoder import build_encoder
from bench.methods.masks import RandomScores, Scores, TopScores, apply_mask, mask_above, mask_top, masked_names


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 5))
    return layers.double().requires_grad_(False)


def trained(threshold: float, initial: float, lr: float, steps: int = 12) -> list[dict[str, torch.Tensor]]:
    """The masks behind every step of SGD with momentum and without decay, in float64."""
    net = network()
    scores = Scores(net, masked_names(net, "weights"), threshold=threshold, initial=initial)
    optimizer = torch.optim.SGD(scores.parameters(), lr=lr, momentum=0.9)
    generator = torch.Generator().manual_seed(1)
    path = []
    for _ in range(steps):
        images = torch.randn(8, 2, 6, 6, dtype=torch.float64, generator=generator)
        labels = torch.randint(5, (8,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(functional_call(net, scores.weights(net), (images,)), labels).backward()
        optimizer.step()
        path.append(scores.chosen())
    return path


def same(first: list[dict[str, torch.Tensor]], second: list[dict[str, torch.Tensor]]) -> bool:
    return all(torch.equal(a[name], b[name]) for a, b in zip(first, second, strict=True) for name in a)


@pytest.mark.parametrize(
    ("threshold", "initial", "lr"),
    [
        (2.0, 3.0, 8.0),  # theorem 1: initial scores and threshold shifted by 2
        (0.0, 4.0, 32.0),  # theorem 2: scores and learning rate scaled by 4
        (0.5, 2.5, 16.0),  # both, the example of the paper: (lr, S0, mu) = (50, 1, 0) is (100, 2.5, 0.5)
    ],
)
def test_what_theorems_1_and_2_call_equivalent_gives_the_same_masks(
    threshold: float, initial: float, lr: float
) -> None:
    reference = trained(0.0, 1.0, 8.0)
    open_weights = torch.cat([bits.flatten() for bits in reference[-1].values()])
    assert 0.3 < open_weights.double().mean() < 0.97  # the path went somewhere
    assert same(trained(threshold, initial, lr), reference)


def test_what_the_theorems_do_not_call_equivalent_gives_other_masks() -> None:
    assert not same(trained(0.0, 1.0, 16.0), trained(0.0, 1.0, 8.0))


@pytest.mark.parametrize("scale_gradient", [True, False])
def test_the_gradient_of_the_scores_is_the_formula(scale_gradient: bool) -> None:
    """dL/dS = g theta alpha - (1 / (2 N m^1.5)) sum(g theta M); without the second term where alpha is a constant."""
    generator = torch.Generator().manual_seed(0)
    theta, scores, g = torch.randn(3, 4, 5, dtype=torch.float64, generator=generator)
    scores.requires_grad_(True)
    mask = mask_above(scores, 0.2)
    (apply_mask(theta, mask, scale_gradient=scale_gradient) * g).sum().backward()
    m = mask.detach().mean()
    expected = g * theta / m.sqrt()
    if scale_gradient:
        expected -= (g * theta * mask.detach()).sum() / (2 * mask.numel() * m**1.5)
    torch.testing.assert_close(scores.grad, expected)


def test_the_threshold_itself_is_closed() -> None:
    assert mask_above(torch.tensor([-1.0, 0.0, 1e-9]), 0.0).tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("name", ["conv_nano", "vit_nano", "timm/test_resnet"])
def test_a_mask_of_ones_is_the_backbone_exactly(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = build_encoder(name, ImageShape(3, 32, 32), [0.5] * 3, [0.2] * 3).eval()
    scores = Scores(encoder.backbone, masked_names(encoder.backbone, "weights"))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    weights = {f"backbone.{name}": weight for name, weight in scores.weights(encoder.backbone).items()}
    assert torch.equal(functional_call(encoder, weights, (images,)), encoder(images))


@given(st.integers(1, 400), st.floats(0, 1), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_top_scores_keep_their_share(size: int, density: float, seed: int) -> None:
    scores = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    mask = mask_top(scores, density).bool()
    assert int(mask.sum()) == round(density * size)
    if mask.any() and not mask.all():
        assert scores[mask].min() >= scores[~mask].max()


def test_top_and_random_scores_have_the_densities_they_were_given() -> None:
    net = nn.Sequential(nn.Linear(300, 200), nn.Linear(200, 100, bias=False)).requires_grad_(False)
    densities = {"0.weight": 0.9, "1.weight": 0.3, "0.bias": 0.5}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        top, drawn = (kind(net, list(densities), densities) for kind in (TopScores, RandomScores))
    for name, density in densities.items():
        size = net.get_parameter(name).numel()
        assert top.chosen()[name].double().mean() == pytest.approx(density, abs=1 / size)
        assert drawn.chosen()[name].double().mean() == pytest.approx(density, abs=4 * (0.25 / size) ** 0.5)
    assert not any(parameter.requires_grad for parameter in drawn.parameters())


def test_the_masked_sets_of_resnet50_are_those_of_the_paper() -> None:
    """Tables 2 and 3 print 23,462,592: the convolutions, and 7,680 affine parameters of the shortcuts' norms."""
    with torch.device("meta"):
        net = timm.create_model("resnet50", num_classes=0)
    count = {
        masked: sum(net.get_parameter(name).numel() for name in masked_names(net, masked))
        for masked in ("weights", "as_published", r"downsample\.1", r"bn|downsample\.1")
    }
    assert count == {
        "weights": 23_454_912,
        "as_published": 23_462_592,
        r"downsample\.1": 7_680,
        r"bn|downsample\.1": 53_120,  # as many as there are running statistics
    }


def test_the_masked_set_of_a_transformer_is_attention_and_mlp() -> None:
    """CLIP ViT-B/32: 86 Mbit of masks in table 1, of which the projection to the text's space is no part of timm's."""
    with torch.device("meta"):
        net = timm.create_model("vit_base_patch32_224", num_classes=0)
    blocks = 12 * (768 * 2304 + 2304 + 768 * 768 + 768 + 2 * 768 * 3072 + 3072 + 768)
    assert sum(net.get_parameter(name).numel() for name in masked_names(net, "as_published")) == blocks
    patches = 768 * 3 * 32 * 32
    biases = 12 * (2304 + 768 + 3072 + 768)
    assert sum(net.get_parameter(name).numel() for name in masked_names(net, "weights")) == blocks - biases + patches


@pytest.mark.parametrize(
    ("name", "masked", "says"),
    [
        (
            "vit_nano",
            "bn|batch",
            r"simple\.masked: 'bn\|batch' chooses no parameter of this VisionTransformer.*cls_token",
        ),
        ("conv_nano", "as_published", "'as_published' chooses no parameter of this ConvNet.*stages"),
    ],
)
def test_a_network_without_the_parts_is_an_error_that_names_its_parts(name: str, masked: str, says: str) -> None:
    backbone = build_encoder(name, ImageShape(1, 8, 8), [0.5], [0.2]).backbone
    with pytest.raises(UserError, match=says):
        masked_names(backbone, masked, "simple.masked")
