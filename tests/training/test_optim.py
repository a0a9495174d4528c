from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bench.data.shape import ImageShape
from bench.methods.encoder import build_encoder
from bench.training.optim import adamw, cosine, layer_decay_groups, parameter_groups, set_lr


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
