"""Supervised self-masking: the weights stay, the mask and the head learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bench.data.catalog import Dataset
from bench.errors import UserError
from bench.methods.encoder import Encoder
from bench.protocols.finetune_mask import MaskRecipe, MaskTrainer, run
from bench.study.methods import RandomInitOptions
from bench.study.protocols import FinetuneMaskOptions
from tests.protocols.conftest import build, evaluation

QUICK = {"label_budgets": [5], "draws": 1, "steps": 20, "epochs": 0}


def recipe(digits: Dataset, encoder: Encoder, **chosen: object) -> MaskRecipe:
    zeros, ones = torch.zeros(128), torch.ones(128)
    return MaskRecipe(digits, encoder, zeros, ones, FinetuneMaskOptions(**{**QUICK, **chosen}), "cpu")


def test_scores_and_head_learn_and_weights_stay(digits: Dataset, conv: Encoder) -> None:
    before = {name: parameter.clone() for name, parameter in conv.named_parameters()}
    classifier = recipe(digits, conv, lr=500.0).train(digits.splits.budget("5", 0), 500.0, "test")
    assert all(torch.equal(parameter, before[name]) for name, parameter in classifier.encoder.named_parameters())
    share = [float(bits.float().mean()) for bits in classifier.scores.chosen().values()]
    assert min(share) < 0.99
    assert all(0.5 < part <= 1 for part in share)
    assert classifier.head.weight.abs().max() > 0.01


def test_without_a_step_of_the_scores_it_is_the_encoder(digits: Dataset, conv: Encoder) -> None:
    """Scores that hardly move leave every mask open: the features are the encoder's, bit for bit."""
    classifier = recipe(digits, conv).train(digits.splits.budget("5", 0), 1e-6, "test")
    images = torch.rand(3, *conv.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(classifier(images), classifier.head(conv(images)))


def test_a_deployment_ships_a_mask_and_a_head(digits: Dataset, conv: Encoder, root: Path) -> None:
    (score,) = run(evaluation(digits, conv, root, FinetuneMaskOptions(**QUICK)))
    head = 4 * (128 * 10 + 10)
    weights = sum(parameter.numel() for parameter in conv.parameters())
    assert head < score.extra["bytes_added"] < head + weights / 8 + 2000  # far less than 4 bytes a weight
    assert score.metrics["accuracy"] > 0.4


@pytest.mark.parametrize("running_statistics", ["adapted", "frozen"])
def test_running_statistics_are_shipped_or_frozen(running_statistics: str, digits: Dataset, root: Path) -> None:
    encoder = build(digits, RandomInitOptions(encoder="timm/test_resnet"))
    options = FinetuneMaskOptions(**{**QUICK, "steps": 2, "running_statistics": running_statistics})
    trainer = MaskTrainer(evaluation(digits, encoder, root, options))
    classifier = trainer.recipe.train(digits.splits.budget("5", 0), 50.0, "test")
    statistics = dict(encoder.backbone.named_buffers())
    same = [torch.equal(buffer, statistics[name]) for name, buffer in classifier.encoder.backbone.named_buffers()]
    size = sum(buffer.nbytes for buffer in statistics.values())
    if running_statistics == "frozen":
        assert all(same)
    else:
        assert not any(same)
        assert trainer._bytes(classifier) > size
    assert np.isfinite(trainer._bytes(classifier))


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"last_blocks": 1}, "last_blocks: 1 is for weights that train"),
        ({"drop_path": 0.1}, "drop_path: 0.1 is for weights that train"),
        ({"masked": "("}, "no regular expression"),
    ],
)
def test_what_masks_have_no_use_for_is_refused(chosen: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        FinetuneMaskOptions(**chosen)


def test_a_network_without_the_parts_is_an_error(digits: Dataset, conv: Encoder, root: Path) -> None:
    with pytest.raises(UserError, match=r"finetune_mask\.masked: 'attn' chooses no parameter of this ConvNet"):
        run(evaluation(digits, conv, root, FinetuneMaskOptions(**{**QUICK, "masked": "attn"})))
