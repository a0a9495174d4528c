"""The network as it is: its own decoder, one score at every budget, no label read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.catalog import Dataset, open_dataset
from bench.errors import UserError
from bench.methods.dense_head import HEAD
from bench.methods.encoder import load_encoder, save_encoder
from bench.methods.noisy_labels import NoisyLabels
from bench.methods.registry import build_method
from bench.protocols.base import Evaluation, Score
from bench.protocols.features import Features
from bench.protocols.registry import PROTOCOLS
from bench.study.methods import NoisyLabelsOptions
from bench.study.protocols import AsIsOptions, cells
from bench.study.spec import DataSpec

MAP = {"green": ["field", "tree"], "sealed": ["road", "building"], "wet": ["water"], "ignore": ["bare"]}


@pytest.fixture(scope="module")
def land(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(DataSpec(name="land_cover", images=60, image_size=16), tmp_path_factory.mktemp("land"))


def kept(land: Dataset, encoder: str, folder: Path) -> NoisyLabels:
    """A network of random weights and what a pretraining would leave of it in the folder."""
    options = NoisyLabelsOptions(encoder=encoder)
    made = build_method("noisy_labels", options, land.shape, land.mean.tolist(), land.std.tolist(), 3, 6)
    assert isinstance(made, NoisyLabels)
    save_encoder(made.encoder().eval(), folder)
    made.save_extra(folder)
    return made.eval()


def score(land: Dataset, folder: Path, **asked: object) -> list[Score]:
    options = AsIsOptions(**{"label_budgets": [2, 12, "all"], "draws": 2, **asked})
    encoder = load_encoder(folder)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    trained = [parameter.requires_grad for parameter in encoder.parameters()]
    wanted = cells(options, ["last"])
    task = Evaluation(land, lambda: encoder, Features({}, land.splits.train), options, wanted, 0, Path(), folder=folder)
    scores = PROTOCOLS["as_is"](task)
    assert [found.cell for found in scores] == wanted
    assert [parameter.requires_grad for parameter in encoder.parameters()] == trained
    assert all((encoder.state_dict()[name] == value).all() for name, value in before.items())
    return scores


@pytest.mark.parametrize("encoder", ["unet_nano", "conv_nano", "vit_nano"])
def test_the_score_is_that_of_the_trained_network_at_every_budget(encoder: str, land: Dataset, tmp_path: Path) -> None:
    made = kept(land, encoder, tmp_path)
    scores = score(land, tmp_path)
    test = land.splits.test
    images = torch.from_numpy(np.asarray(land.images.images[test])).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        predicted = made.head(made.backbone, images).argmax(1).numpy()
    truth = np.asarray(land.images.masks[test])
    for found in scores:
        assert found.metrics == scores[0].metrics
        assert found.metrics["pixel_accuracy"] == pytest.approx((predicted == truth).mean())
        assert (found.n_labels, found.extra["labels_read"]) == (
            len(land.splits.train) if found.cell.label_budget == "all" else int(found.cell.label_budget),
            0,
        )
        assert np.array(found.extra["confusion"]).sum() == truth.size
        assert found.extra["n_test"] == len(test)
        assert found.extra["bytes_added"] > 0


def test_a_class_map_adds_up_probabilities_and_leaves_out_what_is_ignored(land: Dataset, tmp_path: Path) -> None:
    made = kept(land, "unet_nano", tmp_path)
    found = score(land, tmp_path, class_map=MAP)[0]
    names = land.splits.class_names
    groups = [[names.index(name) for name in MAP[target]] for target in ("green", "sealed", "wet")]
    images = torch.from_numpy(np.asarray(land.images.images[land.splits.test])).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        chance = made.head(made.backbone, images).softmax(1).numpy()
    predicted = np.stack([chance[:, group].sum(1) for group in groups], 1).argmax(1)
    truth = np.asarray(land.images.masks[land.splits.test])
    confusion = [[((np.isin(truth, group)) & (predicted == other)).sum() for other in range(3)] for group in groups]
    np.testing.assert_array_equal(found.extra["confusion"], confusion)


def test_a_pretraining_without_a_decoder_is_named(land: Dataset, tmp_path: Path) -> None:
    kept(land, "unet_nano", tmp_path)
    (tmp_path / HEAD).unlink()
    with pytest.raises(UserError, match=r"holds no decoder.safetensors: .*valid: noisy_labels"):
        score(land, tmp_path)
