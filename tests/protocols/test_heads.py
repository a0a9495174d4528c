"""Batched heads against scikit-learn, one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from bench.protocols import heads as heads_module
from bench.protocols import products, solver
from bench.protocols.heads import Heads, fit_heads

C_GRID = (1e-3, 1e-1, 1.0, 10.0, 1e3)


def blobs(n: int, dim: int, n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping classes whose features span four orders of magnitude of variance, standardised."""
    numbers = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    centres = numbers.normal(size=(n_classes, dim))
    hidden = 0.5 * centres[labels] + numbers.normal(size=(n, dim))
    features = (hidden / np.arange(1, dim + 1)) @ np.linalg.qr(numbers.normal(size=(dim, dim)))[0]
    return (features - features.mean(0)) / features.std(0), labels


def batch(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(array))[None] for array in arrays]


def fit_and_judge(*what: Any, **how: Any) -> tuple[Heads, torch.Tensor]:
    """Heads, and the objectives at which they ended."""
    features, labels, _, C, *weights = what
    fitted = fit_heads(*what, **how)
    return fitted, fitted.objective(features, labels, C, *weights)


def objective(model: LogisticRegression, features: np.ndarray, labels: np.ndarray, C: float) -> float:
    own = np.searchsorted(model.classes_, labels)
    loss = -model.predict_log_proba(features)[np.arange(len(labels)), own].sum()
    return float(0.5 * (model.coef_**2).sum() + C * loss)


@pytest.mark.parametrize(("n", "dim"), [(3, 20), (10, 30), (60, 12), (60, 100), (300, 40)])
def test_objective_and_accuracy_are_scikit_learns(n: int, dim: int) -> None:
    features, labels = blobs(n + 400, dim, 3)
    fitted, ends = fit_and_judge(*batch(features[:n], labels[:n]), 3, torch.tensor(C_GRID))
    assert fitted.converged.all()
    predicted = fitted.predictions(torch.from_numpy(features[n:]))[0].numpy()
    for column, C in enumerate(C_GRID):
        model = LogisticRegression(C=C, tol=1e-10, max_iter=20_000).fit(features[:n], labels[:n])
        assert float(ends[0, column]) == pytest.approx(objective(model, features[:n], labels[:n], C), rel=1e-4)
        accuracy = (predicted[column] == labels[n:]).mean()
        assert accuracy == pytest.approx(model.score(features[n:], labels[n:]), abs=0.005)


def test_reported_objective_is_that_of_the_returned_weights() -> None:
    features, labels = blobs(50, 80, 4)
    fitted, ends = fit_and_judge(*batch(features, labels), 4, torch.tensor(C_GRID))
    log = fitted.probabilities(torch.from_numpy(features))[0].log().numpy()
    loss = -log[:, np.arange(50), labels].sum(1)
    expected = 0.5 * fitted.weight[0].square().sum((1, 2)).numpy() + np.array(C_GRID) * loss
    np.testing.assert_allclose(ends[0].numpy(), expected, rtol=1e-6)


def test_weights_hide_samples() -> None:
    features, labels = blobs(90, 10, 3)
    keep = np.arange(90) % 5 != 0
    kept = torch.from_numpy(keep.astype(float))[None, :, None]
    hidden, expected = fit_and_judge(*batch(features, labels), 3, torch.ones(1), kept)
    alone, ends = fit_and_judge(*batch(features[keep], labels[keep]), 3, torch.ones(1))
    query = torch.from_numpy(features)
    torch.testing.assert_close(expected, ends, rtol=1e-5, atol=0)
    torch.testing.assert_close(hidden.probabilities(query), alone.probabilities(query), rtol=0, atol=2e-3)


@pytest.mark.parametrize("n", [3, 10, 37, 200])
@pytest.mark.parametrize("C", [(1.0,), C_GRID])
@pytest.mark.parametrize("folds", [1, 3])
def test_a_group_does_not_depend_on_its_company(n: int, C: tuple[float, ...], folds: int) -> None:
    parts = [blobs(n, 61, 3, seed) for seed in range(5)]
    features = torch.from_numpy(np.stack([part[0] for part in parts]))
    labels = torch.from_numpy(np.stack([part[1] for part in parts]))
    kept = (torch.arange(n)[:, None] % 4 != torch.arange(folds)).double().expand(5, n, folds)
    together = fit_heads(features, labels, 3, torch.tensor(C), kept)
    for members in ([2], [0, 3, 4]):
        alone = fit_heads(features[members], labels[members], 3, torch.tensor(C), kept[members])
        assert torch.equal(together.weight[members], alone.weight)
        assert torch.equal(together.bias[members], alone.bias)


def test_groups_apart_have_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [blobs(40, 60, 3, seed) for seed in range(4)]
    features = torch.from_numpy(np.stack([part[0] for part in parts]))
    labels = torch.from_numpy(np.stack([part[1] for part in parts]))
    together = fit_heads(features, labels, 3, torch.tensor(C_GRID))
    monkeypatch.setattr(heads_module, "CHUNK_BYTES", 1)
    apart = fit_heads(features, labels, 3, torch.tensor(C_GRID))
    assert torch.equal(together.weight, apart.weight)
    assert torch.equal(together.bias, apart.bias)


@pytest.mark.parametrize("chunk", [1, heads_module.CHUNK_BYTES])
@pytest.mark.parametrize("alone", [40 * 60, 40 * 60 - 1])  # a group's numbers, and one less
def test_threads_share_the_parts_and_are_given_back(monkeypatch: pytest.MonkeyPatch, alone: int, chunk: int) -> None:
    parts = [blobs(40, 60, 3, seed) for seed in range(5)]
    features = torch.from_numpy(np.stack([part[0] for part in parts]))
    labels = torch.from_numpy(np.stack([part[1] for part in parts]))
    monkeypatch.setattr(heads_module, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(heads_module, "ALONE", alone)
    before, seen = torch.get_num_threads(), set()
    fit = heads_module._fit
    monkeypatch.setattr(heads_module, "_fit", lambda *what: seen.add(torch.get_num_threads()) or fit(*what))
    try:
        torch.set_num_threads(1)
        expected = fit_heads(features, labels, 3, torch.tensor(C_GRID))
        seen.clear()
        torch.set_num_threads(2)
        found = fit_heads(features, labels, 3, torch.tensor(C_GRID))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    side_by_side = alone == 40 * 60
    assert seen == ({1} if side_by_side else {2})
    if side_by_side:
        assert torch.equal(found.weight, expected.weight)
    torch.testing.assert_close(
        found.objective(features, labels, torch.tensor(C_GRID)),
        expected.objective(features, labels, torch.tensor(C_GRID)),
        rtol=2e-5,
        atol=0,
    )


def test_heads_are_folds_by_regularisers_in_the_order_asked() -> None:
    features, labels = blobs(60, 20, 3)
    kept = torch.from_numpy((np.arange(60)[:, None] % 2 != np.arange(2)).astype(float))[None]
    disorder = torch.tensor([1.0, 1e-3, 1e3])
    _, ends = fit_and_judge(*batch(features, labels), 3, disorder, kept)
    for fold in range(2):
        half = np.flatnonzero(kept[0, :, fold].numpy())
        for column, C in enumerate(disorder):
            _, alone = fit_and_judge(*batch(features[half], labels[half]), 3, C[None])
            assert float(ends[0, 3 * fold + column]) == pytest.approx(float(alone[0, 0]), rel=1e-4)


@pytest.mark.parametrize("grid", [(1e3,), (1e-4, 1e2), tuple(10.0 ** np.arange(-4, 3))])
def test_coarse_paths_end_where_fine_ones_do(grid: tuple[float, ...]) -> None:
    features, labels = blobs(200, 60, 5)
    fine = torch.from_numpy(np.append(np.logspace(-5, np.log10(grid[-1]), 40), grid[-1]))
    _, expected = fit_and_judge(*batch(features, labels), 5, fine, tolerance=1e-7)
    fitted, ends = fit_and_judge(*batch(features, labels), 5, torch.tensor(grid, dtype=torch.float64))
    assert fitted.converged.all()
    assert float(ends[0, -1]) == pytest.approx(float(expected[0, -1]), rel=2e-5)


def test_a_long_path_ends_as_near_as_a_short_one() -> None:
    features, labels = blobs(1000, 100, 10)
    path = torch.logspace(-3, 3, 120, dtype=torch.float64)
    fitted, ends = fit_and_judge(*batch(features, labels), 10, path)
    _, expected = fit_and_judge(*batch(features, labels), 10, path[-1:], tolerance=1e-8)
    assert fitted.converged.all()
    assert float(ends[0, -1]) == pytest.approx(float(expected[0, 0]), rel=2e-5)


@pytest.mark.parametrize("half", [False, True])
def test_arranged_products_end_where_plain_ones_do(monkeypatch: pytest.MonkeyPatch, half: bool) -> None:
    features, labels = blobs(300, 40, 5)
    monkeypatch.setattr(solver, "MANY", 1 if half else 1 << 40)
    monkeypatch.setattr(solver, "_fast_in_half", lambda values: True)
    _, expected = fit_and_judge(*batch(features, labels), 5, torch.tensor(C_GRID))
    monkeypatch.setattr(products, "LARGE", 1)
    arranged, ends = fit_and_judge(*batch(features, labels), 5, torch.tensor(C_GRID))
    assert arranged.converged.all()
    torch.testing.assert_close(ends, expected, rtol=2e-5, atol=0)


def test_half_precision_only_points_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(300, 40, 5)
    single, expected = fit_and_judge(*batch(features, labels), 5, torch.tensor(C_GRID))
    monkeypatch.setattr(solver, "MANY", 1)
    monkeypatch.setattr(solver, "_fast_in_half", lambda values: True)
    half, ends = fit_and_judge(*batch(features, labels), 5, torch.tensor(C_GRID))
    assert half.converged.all()
    assert not torch.equal(half.weight, single.weight)
    torch.testing.assert_close(ends, expected, rtol=2e-5, atol=0)


def test_a_missing_class_is_never_predicted_and_changes_nothing() -> None:
    features, labels = blobs(60, 10, 3)
    seen = labels != 1
    fitted = fit_heads(*batch(features[seen], labels[seen]), 3, torch.tensor([2.0]))
    probabilities = fitted.probabilities(torch.from_numpy(features))[0, 0].numpy()
    assert (probabilities[:, 1] == 0).all()
    # a softmax over two classes at C is scikit-learn's binomial fit at 2 C
    model = LogisticRegression(C=4.0, tol=1e-10, max_iter=10_000).fit(features[seen], labels[seen])
    np.testing.assert_allclose(probabilities[:, [0, 2]], model.predict_proba(features), atol=2e-3)


def test_one_class_alone_is_certain() -> None:
    features, _ = blobs(8, 5, 2)
    fitted = fit_heads(*batch(features, np.full(8, 1)), 3, torch.tensor(C_GRID))
    assert fitted.converged.all()
    assert (fitted.probabilities(torch.from_numpy(features))[..., 1] == 1).all()


def test_constant_features_leave_the_class_frequencies() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    fitted = fit_heads(*batch(np.zeros((6, 4)), labels), 3, torch.tensor(C_GRID))
    expected = torch.tensor([3 / 6, 2 / 6, 1 / 6], dtype=torch.float64).expand(1, len(C_GRID), 1, 3)
    torch.testing.assert_close(fitted.probabilities(torch.zeros(1, 4)), expected, rtol=0, atol=1e-3)


def test_unfinished_heads_say_so() -> None:
    features, labels = blobs(200, 40, 4)
    fitted = fit_heads(*batch(features, labels), 4, torch.tensor([1e3]), max_iterations=3)
    assert not fitted.converged.any()
    assert int(fitted.iterations.max()) == 3
