from __future__ import annotations

import math

import numpy as np
import pytest
import timm.optim
import torch
from torch import Tensor, nn

from bench.data.shape import ImageShape
from bench.methods.encoder import build_encoder
from bench.training.optim import Lars, adamw, cosine, layer_decay_groups, merged, parameter_groups, set_lr


def names_in(group: dict, module: nn.Module) -> set[str]:
    held = {id(parameter) for parameter in group["params"]}
    return {name for name, parameter in module.named_parameters() if id(parameter) in held}


def test_biases_norms_and_tokens_are_not_decayed() -> None:
    backbone = build_encoder("vit_nano", ImageShape(1, 8, 8), [0.5], [0.2]).backbone
    groups = {group["weight_decay"]: names_in(group, backbone) for group in parameter_groups(backbone, 0.05)}
    assert set(groups) == {0.0, 0.05}
    assert groups[0.05] == {
        "patch_embed.proj.weight",
        *(f"blocks.{i}.{part}.weight" for i in range(2) for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")),
    }
    assert "cls_token" in groups[0.0]
    assert "pos_embed" not in groups[0.0] | groups[0.05]  # fixed


def test_warm_up_is_linear_and_the_rest_half_a_cosine() -> None:
    factors = [cosine(step, 100, 0.1) for step in range(100)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10:] == pytest.approx([(1 + math.cos(math.pi * k / 90)) / 2 for k in range(90)])
    assert cosine(100, 100, 0.1) == pytest.approx(0)
    assert cosine(0, 1, 0.0) == 1


def test_layer_decay_is_the_recipe_of_mae() -> None:
    """scale = decay^(n + 1 - id): id 0 = patch, position and class; block i -> i + 1; head -> n + 1."""
    backbone = build_encoder("vit_nano", ImageShape(1, 8, 8), [0.5], [0.2]).backbone
    head = nn.Linear(64, 10)
    groups = layer_decay_groups(backbone, head, weight_decay=0.05, layer_decay=0.5)
    scales = {name: group["lr_scale"] for group in groups for name in names_in(group, backbone)}
    assert scales["cls_token"] == scales["patch_embed.proj.weight"] == 0.5**3
    assert [scales[f"blocks.{i}.mlp.fc1.weight"] for i in range(2)] == [0.5**2, 0.5]
    assert {group["lr_scale"] for group in groups if names_in(group, head)} == {1.0}
    assert sum(p.numel() for group in groups for p in group["params"]) == sum(
        p.numel() for module in (backbone, head) for p in module.parameters() if p.requires_grad
    )


@pytest.mark.parametrize(("encoder", "first", "last"), [
    ("conv_nano", "stages.0.0.weight", "stages.4.0.weight"),
    ("unet_nano", "enc.0.0.weight", "bottleneck.0.weight"),
    ("timm/test_resnet", "conv1.0.weight", "layer4.0.conv1.weight"),
])  # fmt: skip
def test_every_family_has_a_depth(encoder: str, first: str, last: str) -> None:
    backbone = build_encoder(encoder, ImageShape(1, 32, 32), [0.5], [0.2]).backbone
    groups = layer_decay_groups(backbone, nn.Linear(2, 2), weight_decay=0.05, layer_decay=0.5)
    scales = {name: group["lr_scale"] for group in groups for name in names_in(group, backbone)}
    assert scales[first] < scales[last] == 0.5


def test_the_rate_follows_the_scale_of_each_group() -> None:
    groups = [{"params": [nn.Parameter(torch.ones(2))], "lr_scale": 0.5}, {"params": [nn.Parameter(torch.ones(2))]}]
    optimizer = adamw(groups, 1.0, (0.9, 0.95))
    set_lr(optimizer, 0.2)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]


def test_merged_groups_hold_the_same_parameters_under_the_same_settings() -> None:
    backbone = build_encoder("vit_nano", ImageShape(1, 8, 8), [0.5], [0.2]).backbone

    def settings(groups: list[dict]) -> dict[int, tuple]:
        return {id(p): (g["weight_decay"], g["lr_scale"]) for g in groups for p in g["params"]}

    for decay, few in ((1.0, 2), (0.5, 8)):
        groups = layer_decay_groups(backbone, nn.Linear(64, 10), weight_decay=0.05, layer_decay=decay)
        assert len(merged(groups)) == few <= len(groups)
        assert settings(merged(groups)) == settings(groups)


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_lars_is_its_equations() -> None:
    """mu <- 0.9 mu + q g, p <- p - lr mu; q = trust |p| / |g + wd p|; one-dimensional parameters: q = 1, wd = 0."""
    weight, bias = nn.Parameter(drawn(3, 4, seed=0)), nn.Parameter(drawn(3, seed=1))
    expected = [weight.detach().double().numpy().copy(), bias.detach().double().numpy().copy()]
    optimizer = Lars([weight, bias], lr=0.5, momentum=0.9, weight_decay=0.1, trust=0.02)
    mu = [np.zeros((3, 4)), np.zeros(3)]
    for step in range(5):
        weight.grad, bias.grad = drawn(3, 4, seed=10 + step), drawn(3, seed=20 + step)
        optimizer.step()
        update = weight.grad.double().numpy() + 0.1 * expected[0]
        q = 0.02 * np.sqrt((expected[0] ** 2).sum()) / np.sqrt((update**2).sum())
        mu = [0.9 * mu[0] + q * update, 0.9 * mu[1] + bias.grad.double().numpy()]
        expected = [p - 0.5 * m for p, m in zip(expected, mu, strict=True)]
    assert weight.detach().numpy() == pytest.approx(expected[0], rel=1e-5)
    assert bias.detach().numpy() == pytest.approx(expected[1], rel=1e-5)


def test_lars_is_that_of_timm_where_both_are_defined() -> None:
    """timm's puts the weight decay elsewhere in the ratio, and does not know one-dimensional parameters."""
    ours, theirs = (nn.Parameter(drawn(6, 5, seed=0)) for _ in range(2))
    mine = Lars([ours], lr=2.0)
    reference = timm.optim.Lars([theirs], lr=2.0, momentum=0.9, trust_coeff=0.001, eps=0.0, always_adapt=True)
    for step in range(4):
        ours.grad = drawn(6, 5, seed=step)
        theirs.grad = ours.grad.clone()
        mine.step()
        reference.step()
    assert torch.allclose(ours, theirs, rtol=1e-6)
    assert not torch.allclose(ours, drawn(6, 5, seed=0), rtol=1e-3)


def test_lars_moves_what_has_no_size_or_no_gradient_as_plain_momentum_does() -> None:
    zero, still = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.ones(2, 2))
    zero.grad, still.grad = torch.full((2, 2), 3.0), torch.zeros(2, 2)
    Lars([zero, still], lr=0.1).step()
    assert torch.allclose(zero, torch.full((2, 2), -0.3))
    assert torch.equal(still, torch.ones(2, 2))
