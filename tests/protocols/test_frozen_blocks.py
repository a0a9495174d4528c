"""Segmentation with the first blocks frozen: those keep every bit, batch statistics included, the others train."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from bench.data.catalog import Dataset, open_dataset
from bench.data.dense_draws import dense_budget
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.encoder import Encoder, build_encoder
from bench.methods.registry import build_method
from bench.protocols.base import Cell
from bench.protocols.frozen_blocks import freeze_first
from bench.protocols.partial import shipped_bytes
from bench.protocols.segmentation import DenseTrainer
from bench.store.datasets import DataRecord
from bench.study.load import parse_study
from bench.study.methods import RandomInitOptions
from bench.study.plan import build_plan
from bench.study.protocols import SegmentationOptions
from bench.study.protocols.segmentation import check_encoder
from bench.study.spec import DataSpec

# encoder, blocks frozen, a prefix of frozen and one of trained tensors of the backbone
CASES = [
    ("unet_nano", 1, ("enc.0.",), ("enc.1.", "bottleneck.")),
    ("unet_nano", 2, ("enc.0.", "enc.1."), ("bottleneck.",)),
    ("conv_nano", 3, ("stages.0.", "stages.1.", "stages.2."), ("stages.3.", "stages.4.")),
    ("vit_nano", 1, ("cls_token", "pos_embed", "patch_embed.", "blocks.0."), ("blocks.1.mlp", "norm.")),
    ("timm/resnet18", 2, ("conv1.", "bn1.", "layer1."), ("layer2.", "layer4.1.bn2.running_mean")),
]


@pytest.fixture(scope="module")
def land(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(DataSpec(name="land_cover", images=60, image_size=16), tmp_path_factory.mktemp("land"))


def built(dataset: Dataset, name: str) -> Encoder:
    mean, std = dataset.mean.tolist(), dataset.std.tolist()
    options = RandomInitOptions(encoder=name)
    return build_method("random_init", options, dataset.shape, mean, std, 0).encoder().eval()


def partial(blocks: int) -> SegmentationOptions:
    return SegmentationOptions(
        label_budgets=[8], draws=1, steps=3, epochs=0, batch_size=4, encoder_state="partial", frozen_blocks=blocks
    )


@pytest.mark.parametrize(("name", "blocks", "frozen", "trained"), CASES)
def test_frozen_blocks_keep_every_bit_and_the_others_train(
    name: str, blocks: int, frozen: tuple[str, ...], trained: tuple[str, ...], land: Dataset
) -> None:
    encoder = built(land, name)
    trainer = DenseTrainer(land, encoder, partial(blocks), 0, "cpu")
    indices = dense_budget(land.images, land.splits, "8", 0)
    network = trainer.train(Cell("8", 0, "last", None), indices, 1e-2)
    before, after = encoder.backbone.state_dict(), network.encoder.backbone.state_dict()
    kept = [key for key in before if key.startswith(frozen)]
    moved = [key for key in before if key.startswith(trained) and not key.endswith(("num_batches_tracked", "k.bias"))]
    assert len(kept) >= len(frozen)
    assert len(moved) >= len(trained)
    assert [key for key in kept if not torch.equal(before[key], after[key])] == []
    assert [key for key in moved if torch.equal(before[key], after[key])] == []
    images = torch.rand(2, *land.shape)
    layer = list(encoder.layers)[blocks - 1]
    assert torch.equal(encoder.forward_layers(images)[layer], network.encoder.forward_layers(images)[layer])
    inside = shipped_bytes(network.encoder)
    assert 0 < inside < 4 * sum(value.numel() for value in encoder.state_dict().values())


@pytest.mark.parametrize(("name", "blocks"), [("unet_nano", 3), ("timm/resnet18", 5)])
def test_a_block_must_be_left_to_train(name: str, blocks: int) -> None:
    encoder = build_encoder(name, ImageShape(3, 32, 32), [0.5] * 3, [0.3] * 3)
    with pytest.raises(UserError, match=f"frozen_blocks: {blocks} leaves nothing .* valid: 1 to {blocks - 1}"):
        freeze_first(encoder, blocks)


def test_the_plan_knows_the_blocks_of_its_presets() -> None:
    for name, blocks in (("unet_nano", 2), ("conv_nano", 4), ("vit_tiny", 5), ("timm/resnet18", 99)):
        check_encoder(name, blocks)
    for name, blocks in (("unet_nano", 3), ("conv_nano", 5), ("vit_tiny", 6)):
        with pytest.raises(UserError, match=f"frozen_blocks: {blocks} leaves none of the {blocks} blocks of {name}"):
            check_encoder(name, blocks)


@pytest.mark.parametrize(
    "options",
    [
        {"encoder_state": "partial"},
        {"encoder_state": "trained", "frozen_blocks": 1},
        {"frozen_blocks": 1},
        {"encoder_state": "partial", "frozen_blocks": 0},
        {"encoder_state": "partial", "frozen_blocks": 1, "unfreeze_at": 2},
    ],
)
def test_a_number_of_blocks_goes_with_partial_alone(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"frozen_blocks|unfreeze_at"):
        SegmentationOptions(**options)


def test_a_study_that_freezes_every_block_is_refused_by_its_plan(land: Dataset, tmp_path: Path) -> None:
    entry = {"protocol": "segmentation", "label_budgets": [2], "encoder_state": "partial", "frozen_blocks": [2, 3]}
    raw = {"study": "s", "data": {"name": "land_cover", "images": 60, "image_size": 16}, "evaluate": [entry]}
    study = parse_study({**raw, "methods": {"random_init": {"encoder": "unet_nano"}}}, "s")
    open_dataset(study.data, tmp_path)
    (record,) = (tmp_path / "data").glob("*.json")
    with pytest.raises(UserError, match=r"^evaluate\.1: frozen_blocks: 3 leaves none of the 3 blocks of unet_nano"):
        build_plan(study, DataRecord.load(tmp_path, record.stem), {})
