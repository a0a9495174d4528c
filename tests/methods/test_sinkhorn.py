from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.methods.sinkhorn import sinkhorn

SCORES = st.builds(
    lambda samples, prototypes, seed: (
        2 * torch.rand(samples, prototypes, generator=torch.Generator().manual_seed(seed)) - 1
    ),
    st.integers(1, 12),
    st.integers(1, 9),
    st.integers(0, 10**6),
)


def slow_sinkhorn(scores: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    """The published order, one entry at a time: rows to 1 / K, columns to 1 / B, at last columns to 1."""
    samples, prototypes = scores.shape
    q = [[np.exp(scores[b, k] / epsilon) for b in range(samples)] for k in range(prototypes)]
    total = sum(sum(row) for row in q)
    q = [[value / total for value in row] for row in q]
    for _ in range(iterations):
        q = [[value / sum(row) / prototypes for value in row] for row in q]
        columns = [sum(row[b] for row in q) for b in range(samples)]
        q = [[row[b] / columns[b] / samples for b in range(samples)] for row in q]
    return np.array(q).T * samples


@settings(max_examples=60, deadline=None)
@given(SCORES, st.sampled_from([0.05, 0.3, 1.0]), st.integers(1, 5))
def test_every_output_has_the_right_margins(scores: torch.Tensor, epsilon: float, iterations: int) -> None:
    codes = sinkhorn(scores, epsilon, iterations)
    assert codes.shape == scores.shape
    assert (codes >= 0).all()
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(len(scores)))  # samples: exact behind every iteration
    balanced = sinkhorn(scores, max(epsilon, 0.3), 300)  # prototypes: in the limit
    share = len(scores) / scores.shape[1]
    torch.testing.assert_close(balanced.sum(dim=0), torch.full((scores.shape[1],), share), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(balanced.sum(dim=1), torch.ones(len(scores)))


@settings(max_examples=20, deadline=None)
@given(SCORES, st.integers(1, 4))
def test_it_is_the_published_iteration(scores: torch.Tensor, iterations: int) -> None:
    expected = slow_sinkhorn(scores.double().numpy(), 0.05, iterations)
    np.testing.assert_allclose(sinkhorn(scores, 0.05, iterations).numpy(), expected, rtol=1e-4, atol=1e-6)


def test_a_closed_form() -> None:
    # two samples, two prototypes: scaling keeps the cross ratio r^2 = q00 q11 / (q01 q10), balanced q00 = r / (1 + r)
    scores = torch.tensor([[0.9, 0.1], [0.4, 0.2]])
    ratio = float(torch.exp((0.9 + 0.2 - 0.1 - 0.4) / torch.tensor(2 * 0.2)))
    codes = sinkhorn(scores, 0.2, 100)
    assert codes[0, 0].item() == pytest.approx(ratio / (1 + ratio), rel=1e-4)
    assert codes[1, 1].item() == pytest.approx(ratio / (1 + ratio), rel=1e-4)


def test_no_epsilon_is_too_small_and_constants_do_not_matter() -> None:
    scores = torch.rand(20, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    sharp = sinkhorn(scores, 1e-3, 3)
    assert sharp.isfinite().all()
    assert sharp.max(dim=1).values.median() > 0.99
    torch.testing.assert_close(sinkhorn(scores + 100, 0.5, 3), sinkhorn(scores, 0.5, 3), rtol=1e-3, atol=1e-5)


def test_more_iterations_bring_the_prototypes_nearer_to_equal_shares() -> None:
    scores = torch.rand(64, 8, generator=torch.Generator().manual_seed(1))
    errors = [float((sinkhorn(scores, 0.05, count).sum(dim=0) - 8).abs().max()) for count in (1, 3, 30)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.05
