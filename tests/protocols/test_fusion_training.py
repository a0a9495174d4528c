"""Trained joint heads: what learns, what stays, and what a remedy of imbalance changes."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from bench.data.catalog import Dataset
from bench.errors import UserError
from bench.methods.encoder import Encoder
from bench.protocols import fusion, linear
from bench.protocols.fusion_inputs import encode_tokens, encoder_digest, keep
from bench.protocols.fusion_training import Joined, Trainer
from bench.study.methods import RandomInitOptions
from bench.study.partners import layer_width
from bench.study.protocols import NO_LAYER, Cell, FusionOptions, LinearOptions
from tests.protocols.conftest import build, evaluation, small_options

CELL = Cell("10", 0, "stage5", "concat")
EXTRA: dict[str, Any] = {"bytes_added": 0}


@pytest.fixture(scope="module")
def partner(digits: Dataset) -> Encoder:
    return build(digits, RandomInitOptions(encoder="unet_nano"))


def trainer(digits: Dataset, conv: Encoder, partner: Encoder, root: Path, fuse: str, **changes: Any) -> Trainer:
    """A trainer of the convolutional layer joined with the partner, on 10 labels per class."""
    options = FusionOptions(partner="unet_nano", steps=3, epochs=0, batch_size=32, tokens=2, fuse=[fuse], **changes)
    task = evaluation(digits, conv, root, options, [CELL])
    sides = {"partner": (partner, "last"), "layer": (conv, "stage5")}
    kept = {}
    for side, (encoder, layer) in sides.items():
        if fuse == "cross_attention":
            array = encode_tokens(encoder, layer, 2, digits, root, "cpu")
        else:
            array = encode_tokens(encoder, layer, 1, digits, root, "cpu")
        kept[side] = keep(array, encoder.layers[encoder.resolve(layer)].channels, digits.splits.train, "cpu")
    network = partner if options.train_partner else None
    return Trainer(task, Joined(fuse, kept["partner"], kept["layer"], network), EXTRA)


@pytest.mark.parametrize("fuse", ["concat", "cross_attention"])
def test_only_the_copy_of_the_partner_learns(
    fuse: str, digits: Dataset, conv: Encoder, partner: Encoder, root: Path
) -> None:
    before = {name: copy.deepcopy(network.state_dict()) for name, network in (("p", partner), ("c", conv))}
    model = trainer(digits, conv, partner, root, fuse, train_partner=True, lr=1e-2)._train(
        CELL, digits.splits.budget("10", 0), 1e-2
    )
    assert all(torch.equal(value, before["p"][name]) for name, value in partner.state_dict().items())
    assert all(torch.equal(value, before["c"][name]) for name, value in conv.state_dict().items())
    moved = {name for name, value in model.network.state_dict().items() if not torch.equal(value, before["p"][name])}
    read = {name for name in before["p"] if name.startswith(("backbone.enc", "backbone.bottleneck"))}
    assert moved == read  # the decoder lies behind the layer that is read
    assert not [name for name, _ in model.named_parameters() if "stages" in name]  # the layer's network is not in it


def test_a_frozen_partner_is_not_in_the_model(digits: Dataset, conv: Encoder, partner: Encoder, root: Path) -> None:
    frozen = trainer(digits, conv, partner, root, "gated")
    model = frozen._train(CELL, digits.splits.budget("10", 0), 1e-2)
    assert model.network is None
    assert {name.partition(".")[0] for name, _ in model.named_parameters()} == {"head"}
    again = frozen._train(CELL, digits.splits.budget("10", 0), 1e-2)
    assert all(torch.equal(left, right) for left, right in zip(model.parameters(), again.parameters(), strict=True))


def test_a_live_partner_says_what_is_kept_of_it(digits: Dataset, conv: Encoder, partner: Encoder, root: Path) -> None:
    """Before its first step, a partner in training and its kept features give the same logits."""
    for fuse in ("concat", "cross_attention"):
        training = trainer(digits, conv, partner, root, fuse, train_partner=True)
        torch.manual_seed(0)
        model = training._model().eval()
        some = digits.splits.test[:5]
        images = training._view(some, digits.splits.labels[some], np.ones(10), 0)
        with torch.no_grad():
            live = model(some, images)
            model.network = None
            kept = model(some, None)
        torch.testing.assert_close(live, kept, rtol=2e-2, atol=2e-2)  # features are kept in half precision


def test_kept_positions_are_standardised_by_the_train_pool(digits: Dataset, conv: Encoder, root: Path) -> None:
    array = encode_tokens(conv, "stage1", 4, digits, root, "cpu")
    kept = keep(array, 32, digits.splits.train, "cpu")
    values = kept.read(digits.splits.train)
    assert values.shape[1:] == (16, 32)
    torch.testing.assert_close(values.mean((0, 1)), torch.zeros(32), rtol=0, atol=0.05)
    live = (kept.scale > 0).sum()
    assert live > 16
    torch.testing.assert_close(values.std((0, 1))[kept.scale > 0], torch.ones(live), rtol=0.05, atol=0)


def test_tokens_are_kept_under_the_networks_content(digits: Dataset, conv: Encoder) -> None:
    other = copy.deepcopy(conv)
    assert encoder_digest(other) == encoder_digest(conv)
    with torch.no_grad():
        next(other.backbone.parameters()).view(-1)[0] += 1e-3
    assert encoder_digest(other) != encoder_digest(conv)


@pytest.mark.parametrize("fuse", ["second_partner_cross_attention", "pixels_pca_8_gated", "partner_only_gated"])
def test_controls_are_trained_like_the_fusion(fuse: str, digits: Dataset, conv: Encoder, root: Path) -> None:
    options = small_options("fusion:joint", label_budgets=[10], draws=1)
    score = fusion.run(evaluation(digits, conv, root, options, [Cell("10", 0, NO_LAYER, fuse)]))[0]
    assert score.selection == "within_budget"
    assert score.n_candidates == 2
    assert score.metrics["accuracy"] > 0.5


def test_attention_to_a_single_position_is_refused(digits: Dataset, root: Path) -> None:
    small = build(digits, RandomInitOptions(encoder="conv_tiny"))  # a map of 1 x 1 at the end
    options = small_options("fusion:joint", label_budgets=[1], draws=1)
    task = evaluation(digits, small, root / "single", options, [Cell("1", 0, "stage5", "cross_attention")])
    with pytest.raises(UserError, match=r"'cross_attention' needs a map of several positions, but that of 'stage5'"):
        fusion.run(task)


@pytest.mark.parametrize("remedy", ["none", "class_weights", "logit_adjustment"])
def test_the_exact_head_under_a_remedy_is_scikit_learns(
    remedy: str, digits: Dataset, conv: Encoder, root: Path
) -> None:
    """On an imbalanced draw: balanced class weights, and the log prior taken off at prediction."""
    settings = {"draw_strategy": "uniform", "selection": "fixed", "label_budgets": [10], "draws": 1}
    options = LinearOptions(imbalance=remedy, **settings)
    task = evaluation(digits, conv, root, options)
    score = linear.run(task)[0]
    seen, test = digits.splits.budget("10", 0, "uniform"), digits.splits.test
    features, labels = task.features.standardised("stage5").astype(np.float64), digits.splits.labels
    weights = "balanced" if remedy == "class_weights" else None
    model = LogisticRegression(C=1.0, class_weight=weights, tol=1e-8, max_iter=5000).fit(features[seen], labels[seen])
    logits = model.decision_function(features[test])
    counts = np.bincount(labels[seen], minlength=10)
    assert counts.min() > 0
    assert counts.max() > counts.min()
    if remedy == "logit_adjustment":
        logits = logits - np.log(counts / counts.sum())
    right = logits.argmax(1) == labels[test]
    assert score.metrics["accuracy"] == pytest.approx(right.mean(), abs=1e-9)
    truth = logits[np.arange(len(test)), labels[test]]
    nll = (np.logaddexp.reduce(logits, 1) - truth).mean()
    assert score.metrics["nll"] == pytest.approx(nll, rel=1e-4)


def test_a_rare_class_is_found_more_often_under_a_remedy(digits: Dataset, conv: Encoder, root: Path) -> None:
    """Nine classes of twenty labels, one of two: every remedy raises the recall of the rare class."""
    splits = digits.splits
    labels = splits.labels
    pool = [splits.train[labels[splits.train] == label][: 2 if label == 8 else 20] for label in range(10)]
    small = replace(digits, splits=replace(splits, train=np.sort(np.concatenate(pool))))
    recall = {}
    for remedy in ("none", "class_weights", "balanced_sampling", "focal", "logit_adjustment"):
        options = small_options(
            "fusion:mlp", label_budgets=["all"], draws=1, selection="fixed", imbalance=remedy, lr=3e-3, steps=40
        )
        score = fusion.run(evaluation(small, conv, root / "imbalanced", options, [Cell("all", 0, "stage5", "concat")]))
        recall[remedy] = score[0].class_correct[8] / score[0].class_counts[8]
    for remedy in ("class_weights", "balanced_sampling", "logit_adjustment"):
        assert recall[remedy] > recall["none"] + 0.05


@pytest.mark.parametrize("name", ["vit_nano", "conv_nano", "conv_tiny", "unet_nano"])
def test_the_plan_knows_the_width_of_every_layer(name: str, digits: Dataset) -> None:
    options = RandomInitOptions(encoder=name)
    for layer, info in build(digits, options).layers.items():
        assert layer_width(options, layer) == info.channels
