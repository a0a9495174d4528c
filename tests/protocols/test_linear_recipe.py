"""The linear probe of MAE: batch norm without affine parameters, a linear layer, LARS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.special import log_softmax, softmax

from bench.data.catalog import Dataset
from bench.methods.encoder import Encoder
from bench.protocols import linear
from bench.protocols.batches import batch_places, step_count
from bench.protocols.sgd_probe import fit_probes
from bench.study.protocols import LinearOptions
from bench.training.optim import cosine
from tests.protocols.conftest import evaluation

OPTIONS = LinearOptions(solver="lars", epochs=3, batch_size=16)


def samples(n: int = 40, dim: int = 5, n_classes: int = 3) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(n_classes, size=n)
    features = rng.normal(size=(n, dim)) + 2 * np.eye(dim)[labels]
    return torch.tensor(features, dtype=torch.float32), labels


def by_hand(features: np.ndarray, labels: np.ndarray, weight: np.ndarray, options: LinearOptions) -> tuple:
    """Weight, bias and running statistics after the recipe, as the paper writes it, in float64."""
    bias, mu, velocity = np.zeros(len(weight)), np.zeros_like(weight), np.zeros(len(weight))
    mean, variance = np.zeros(features.shape[1]), np.ones(features.shape[1])
    steps = step_count(len(labels), options.batch_size, options.epochs, options.steps)
    for step, places in enumerate(batch_places(labels, len(weight), options.batch_size, steps, "none", "name")):
        batch, truth = features[places], np.eye(len(weight))[labels[places]]
        lr = options.lr * options.batch_size / 256 * cosine(step, steps, options.warmup)
        mean = 0.9 * mean + 0.1 * batch.mean(0)
        variance = 0.9 * variance + 0.1 * batch.var(0, ddof=1)
        normalised = (batch - batch.mean(0)) / np.sqrt(batch.var(0) + 1e-6)
        error = (softmax(normalised @ weight.T + bias, axis=1) - truth) / len(places)
        gradient = error.T @ normalised
        mu = 0.9 * mu + 0.001 * np.linalg.norm(weight) / np.linalg.norm(gradient) * gradient
        velocity = 0.9 * velocity + error.sum(0)
        weight, bias = weight - lr * mu, bias - lr * velocity
    return weight, bias, mean, variance


def test_the_recipe_is_that_of_the_paper() -> None:
    features, labels = samples()
    fresh = fit_probes(features, labels, 3, [1e-30], OPTIONS, "name")
    start = fresh.heads[0].weight.detach().double().numpy()
    assert 0.003 < start.std() < 0.03
    options = OPTIONS.model_copy(update={"lr": 300.0})
    found = fit_probes(features, labels, 3, [options.lr], options, "name")
    weight, bias, mean, variance = by_hand(features.double().numpy(), labels, start, options)
    head = found.heads[0]
    assert head.weight.detach().numpy() == pytest.approx(weight, rel=1e-3, abs=1e-6)
    assert head.bias.detach().numpy() == pytest.approx(bias, rel=1e-3, abs=1e-5)
    assert found.norm.running_mean.numpy() == pytest.approx(mean, rel=1e-4, abs=1e-6)
    assert found.norm.running_var.numpy() == pytest.approx(variance, rel=1e-4)
    assert abs(weight - start).max() > 0.003  # it did move
    assert list(found.norm.parameters()) == []


def test_a_head_does_not_depend_on_its_company() -> None:
    features, labels = samples()
    alone = fit_probes(features, labels, 3, [2.0], OPTIONS, "name").heads[0]
    among = fit_probes(features, labels, 3, [0.1, 2.0, 30.0], OPTIONS, "name").heads[1]
    assert torch.equal(alone.weight, among.weight)
    assert torch.equal(alone.bias, among.bias)


def test_scaling_and_shifting_the_features_changes_nothing() -> None:
    features, labels = samples()
    moved = features * torch.tensor([100.0, 0.01, 1.0, 5.0, 2.0]) * 8 + 3
    one, other = (fit_probes(x, labels, 3, [300.0], OPTIONS, "name") for x in (features, moved))
    with torch.no_grad():
        assert one(features)[0].numpy() == pytest.approx(other(moved)[0].numpy(), rel=0.02, abs=0.05)


def test_balanced_classes_under_a_remedy() -> None:
    """Logit adjustment: a head that learns nothing but its bias ends where the adjusted loss is least, at zero."""
    labels = np.repeat([0, 1], [30, 10])
    features = torch.zeros(40, 2)
    options = LinearOptions(solver="lars", lr=0.5, lr_images=None, epochs=300)
    biases = {
        remedy: fit_probes(features, labels, 2, [0.5], options.model_copy(update={"imbalance": remedy}), "n").heads[0]
        for remedy in ("none", "logit_adjustment", "class_weights")
    }
    prior = {remedy: log_softmax(head.bias.detach().numpy())[0] for remedy, head in biases.items()}
    assert prior["none"] == pytest.approx(np.log(0.75), abs=1e-3)
    assert prior["logit_adjustment"] == pytest.approx(np.log(0.5), abs=1e-3)
    assert prior["class_weights"] == pytest.approx(np.log(0.5), abs=1e-3)


def test_the_published_recipe_learns_about_as_much_as_logistic_regression(
    digits: Dataset, conv: Encoder, root: Path
) -> None:
    asked = {"label_budgets": [10], "draws": 2}
    exact = linear.run(evaluation(digits, conv, root, LinearOptions(**asked, selection="fixed")))
    recipe = linear.run(evaluation(digits, conv, root, LinearOptions(**asked, solver="lars")))
    accuracy = [np.mean([score.metrics["accuracy"] for score in scores]) for scores in (exact, recipe)]
    assert accuracy[1] == pytest.approx(accuracy[0], abs=0.08)
    assert [score.extra for score in recipe] == [{"bytes_added": 4 * (128 + 1) * 10}] * 2
    assert {score.n_candidates for score in recipe} == {1}
    assert recipe[0].selected == {"lr": 0.1}


def test_the_rate_is_that_of_a_full_batch() -> None:
    assert LinearOptions(solver="lars").peak(0.1) == pytest.approx(6.4)
    assert LinearOptions(solver="lars", lr_images=None).peak(0.1) == 0.1


@pytest.mark.parametrize(("wrong", "said"), [
    ({"lr": 1.0}, "lr: 1.0 is read by the solver 'lars' only"),
    ({"solver": "lars", "c_default": 2.0}, "c_default: 2.0 is read by the solver 'logistic' only"),
    ({"solver": "adam"}, "'logistic' or 'lars'"),
    ({"solver": "lars", "batch_size": 1}, "greater than or equal to 2"),
])  # fmt: skip
def test_options_of_the_other_solver_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        LinearOptions(**wrong)
    dumped = LinearOptions(solver="lars", lr=1.0).model_dump()
    assert LinearOptions(**dumped).model_dump() == dumped
