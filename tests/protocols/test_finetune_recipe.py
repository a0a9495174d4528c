"""The recipe of fine-tuning: what trains, what is frozen, drop path, the average of the weights."""

from __future__ import annotations

import copy
import inspect
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from pydantic import ValidationError
from timm.layers import DropPath
from torch import nn

from bench.data.batches import to_float
from bench.data.catalog import Dataset
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.encoder import Encoder, build_encoder
from bench.protocols import finetune
from bench.protocols.drop_path import add_drop_path
from bench.protocols.partial import freeze_below, last_blocks, shipped_bytes
from bench.protocols.recipe import Classifier, Recipe, averaged
from bench.study.protocols import FinetuneOptions
from bench.study.protocols.finetune import check_encoder
from tests.protocols.conftest import evaluation


def network(name: str, side: int = 8) -> Encoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_encoder(name, ImageShape(1, side, side), [0.3], [0.4]).eval()


def trained(dataset: Dataset, encoder: Encoder, **options: object) -> Classifier:
    """The classifier after a few steps on twenty images."""
    recipe = FinetuneOptions(steps=3, epochs=0, batch_size=10, augmentation="none", **options)
    width = encoder.layers[encoder.default_layer].channels
    mean, std = torch.zeros(width), torch.ones(width)
    return Recipe(dataset, encoder, mean, std, recipe, "cpu").train(dataset.splits.train[:20], 0.01, "name")


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    """Names of parameters and buffers with other values."""
    old, new = before.state_dict(), after.state_dict()
    return {name for name in old if not torch.equal(old[name], new[name])}


@pytest.mark.parametrize(("name", "count", "prefixes"), [
    ("vit_nano", 0, ()),
    ("vit_nano", 1, ("blocks.1.", "norm.")),
    ("vit_nano", 2, ("blocks.0.", "blocks.1.", "norm.")),
    ("conv_nano", 2, ("stages.3.", "stages.4.")),
    ("unet_nano", 1, ("bottleneck.",)),
    ("unet_nano", 2, ("enc.1.", "bottleneck.")),
])  # fmt: skip
def test_the_last_blocks_train_and_nothing_else(
    name: str, count: int, prefixes: tuple[str, ...], digits: Dataset
) -> None:
    encoder = network(name)
    after = trained(digits, encoder, last_blocks=count)
    expected = (
        {key for key, _ in encoder.backbone.named_parameters() if key.startswith(prefixes)} if prefixes else set()
    )
    assert changed(encoder.backbone, after.encoder.backbone) == expected
    assert after.head.weight.abs().max() > 0
    sizes = sum(encoder.backbone.get_parameter(key).numel() for key in expected)
    assert shipped_bytes(after) == 4 * (sizes + after.head.weight.numel() + after.head.bias.numel())


def test_statistics_of_frozen_batch_norms_stand_still(digits: Dataset) -> None:
    """And those of the trained ones move, and are counted."""
    encoder = network("timm/test_resnet", 32)
    data = replace(digits, images=_Large(digits))
    moved = changed(encoder.backbone, trained(data, encoder, last_blocks=1).encoder.backbone)
    assert moved
    assert all(name.startswith("layer4.") for name in moved)
    statistics = {name for name in moved if name.endswith(("running_mean", "running_var"))}
    assert statistics
    state = encoder.backbone.state_dict()
    counted = sum(state[name].numel() for name in moved if not name.endswith("num_batches_tracked"))
    after = trained(data, encoder, last_blocks=1)
    assert shipped_bytes(after) == 4 * (counted + after.head.weight.numel() + 10)
    assert not changed(encoder.backbone, trained(data, encoder, last_blocks=0).encoder.backbone)


class _Large:
    """Digits four times as large."""

    def __init__(self, dataset: Dataset) -> None:
        self.images = dataset.images.images.repeat(4, 1).repeat(4, 2)


def test_all_blocks_are_all_but_the_stem() -> None:
    encoder = network("vit_nano").requires_grad_(True)
    left = {name for name, _ in encoder.backbone.named_parameters()} - last_blocks(encoder, 2)
    assert left == {"cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"}
    with pytest.raises(UserError, match="last_blocks: 3 is more than the 2 blocks of the encoder; valid: 0 to 2"):
        last_blocks(encoder, 3)


def test_dropout_below_is_frozen_too() -> None:
    backbone = network("vit_nano").requires_grad_(True).backbone.train()
    freeze_below(backbone, {name for name, _ in backbone.named_parameters() if name.startswith("blocks.1.")})
    assert not backbone.blocks[0].training
    assert not backbone.blocks[0].attn.attn_drop.training
    assert backbone.blocks[1].attn.attn_drop.training


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext", "vit_tiny_patch16_224"])
def test_drop_path_is_what_timm_builds(name: str) -> None:
    ours, theirs = timm.create_model(name, num_classes=0), timm.create_model(name, num_classes=0, drop_path_rate=0.3)
    add_drop_path(ours, 0.3)
    rates = [
        {key: part.drop_prob for key, part in model.named_modules() if isinstance(part, DropPath)}
        for model in (ours, theirs)
    ]
    assert rates[0] == pytest.approx(rates[1])
    assert max(rates[0].values()) == pytest.approx(0.3)


@pytest.mark.parametrize("name", ["conv_nano", "unet_nano"])
def test_drop_path_needs_residual_blocks(name: str, digits: Dataset) -> None:
    with pytest.raises(UserError, match="asks for residual blocks, and the encoder has none"):
        trained(digits, network(name), drop_path=0.1)


def test_drop_path_acts_in_training_only_and_leaves_the_encoder_alone(digits: Dataset) -> None:
    encoder = network("vit_nano")
    without, dropped, again = (trained(digits, encoder, drop_path=rate) for rate in (0.0, 0.5, 0.5))
    assert changed(without, dropped) - {"encoder.backbone.pos_embed"}
    assert not changed(dropped, again)
    assert not any(isinstance(part, DropPath) for part in encoder.modules())
    images = torch.rand(4, 1, 8, 8)
    assert torch.equal(dropped(images), dropped(images))


def test_the_average_is_that_of_the_formula() -> None:
    layer = nn.Linear(2, 1, bias=False)
    average = averaged(layer, 0.5)
    expected = None
    for t in range(30):
        with torch.no_grad():
            layer.weight.fill_(float(t) ** 1.5)
        average.update_parameters(layer)
        decay = min(0.5, (1 + t) / (10 + t))
        expected = 0.0 if expected is None else decay * expected + (1 - decay) * t**1.5
    assert average.module.weight.detach().numpy() == pytest.approx(np.full((1, 2), expected), rel=1e-5)


def test_the_average_is_scored_and_does_not_disturb_the_training(digits: Dataset) -> None:
    encoder = network("conv_nano")
    last, mean = trained(digits, encoder), trained(digits, encoder, ema=0.9999)
    steps = [copy.deepcopy(trained(digits, encoder, ema=1e-6)), last]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*(x.parameters() for x in steps), strict=True))
    assert changed(last, mean)
    assert not mean.training


@pytest.mark.parametrize("options", [
    {"betas": [0.5, 0.9]}, {"label_smoothing": 0.3}, {"mixup": 0.8}, {"imbalance": "focal"}, {"ema": 0.9},
])  # fmt: skip
def test_every_option_reaches_the_training(options: dict, digits: Dataset) -> None:
    encoder = network("conv_nano")
    assert changed(trained(digits, encoder), trained(digits, encoder, **options))


def test_smoothed_targets_keep_the_head_from_certainty(digits: Dataset) -> None:
    images = to_float(digits.images.images[digits.splits.train[:20]])
    confidence = {}
    for share in (0.0, 0.5):
        classifier = trained(digits, network("conv_nano"), label_smoothing=share, head_lr=20.0)
        with torch.no_grad():
            confidence[share] = float(classifier(images).softmax(1).amax(1).mean())
    assert confidence[0.5] < confidence[0.0] - 0.05


def test_a_whole_encoder_adds_all_of_itself(digits: Dataset, conv: Encoder, root: Path) -> None:
    options = FinetuneOptions(label_budgets=[1], draws=1, steps=1, epochs=0)
    score = finetune.run(evaluation(digits, conv, root, options))[0]
    assert score.extra == {"bytes_added": 4 * (sum(p.numel() for p in conv.backbone.parameters()) + 129 * 10)}


def test_the_published_recipes_can_be_asked_for() -> None:
    blocks = re.findall(r"\{[^}]*\}", inspect.getdoc(FinetuneOptions) or "")
    finetuned, scratch = (FinetuneOptions(**yaml.safe_load(block)) for block in blocks)
    assert finetuned.lr == pytest.approx(5e-4 * 1024 / 256)
    assert scratch.lr == pytest.approx(1e-4 * 4096 / 256)
    assert finetuned.warmup * finetuned.epochs == pytest.approx(5)
    assert scratch.warmup * scratch.epochs == pytest.approx(20, rel=1e-3)
    assert (scratch.betas, scratch.ema, scratch.weight_decay) == ((0.9, 0.95), 0.9999, 0.3)


def test_mistakes_are_found_before_anything_is_built() -> None:
    for options, encoder, channels, said in (
        ({"last_blocks": 3}, "vit_nano", 1, "last_blocks: 3 is more than the 2 blocks of vit_nano; valid: 0 to 2"),
        ({"last_blocks": 4}, "unet_nano", 1, "4 is more than the 3 blocks of unet_nano"),
        ({"drop_path": 0.1}, "conv_nano", 1, "drop_path: 0.1 asks for residual blocks, and conv_nano has none"),
        ({"rand_augment": 9}, "timm/resnet18", 13, "rand_augment: needs images of 1 or 3 channels, these have 13"),
    ):
        with pytest.raises(UserError, match=said):
            check_encoder(FinetuneOptions(**options), encoder, channels)
    check_encoder(FinetuneOptions(last_blocks=3, rand_augment=9), "unet_nano", 3)
    check_encoder(FinetuneOptions(last_blocks=99, drop_path=0.1), "timm/resnet18", 3)
    with pytest.raises(ValidationError, match="needs one class per image, which mixup does not leave"):
        FinetuneOptions(mixup=0.8, imbalance="focal")
    with pytest.raises(ValidationError, match="rare_augmentation"):
        FinetuneOptions(augmentation="none", imbalance="rare_augmentation")


@pytest.mark.parametrize("name", ["vit_nano", "conv_nano", "unet_nano"])
def test_the_checks_agree_with_the_networks(name: str) -> None:
    encoder = network(name).requires_grad_(True)
    blocks = {"vit_nano": 2, "conv_nano": 5, "unet_nano": 3}[name]
    last_blocks(encoder, blocks)
    check_encoder(FinetuneOptions(last_blocks=blocks), name, 1)
    for refuse in (
        lambda: last_blocks(encoder, blocks + 1),
        lambda: check_encoder(FinetuneOptions(last_blocks=blocks + 1), name, 1),
    ):
        with pytest.raises(UserError):
            refuse()
