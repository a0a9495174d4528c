"""Arranged matrices against PyTorch's own products."""

from __future__ import annotations

import pytest
import torch

from bench.protocols import products
from bench.protocols.products import Products

SHAPES = [(1, 1, 1, 16), (2, 3, 4, 33), (3, 400, 16, 50)]  # groups, a, rows, b
ERROR = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float64: 1e-12}


@pytest.mark.parametrize("large", [1, products.LARGE])
@pytest.mark.parametrize("precision", ERROR)
@pytest.mark.parametrize(("groups", "a", "rows", "b"), SHAPES)
def test_products_are_pytorchs(
    monkeypatch: pytest.MonkeyPatch, groups: int, a: int, rows: int, b: int, precision: torch.dtype, large: int
) -> None:
    monkeypatch.setattr(products, "LARGE", large)
    numbers = torch.Generator().manual_seed(0)
    matrices = torch.randn(groups, a, b, generator=numbers, dtype=torch.float64).to(precision)
    wide = torch.randn(groups, 1, rows, b, generator=numbers, dtype=torch.float64).to(precision)
    long = torch.randn(groups, 1, rows, a, generator=numbers, dtype=torch.float64).to(precision)
    made = Products(matrices, rows)
    exact = matrices.double()[:, None]
    assert made.width == b
    for found, expected in (
        (made.across(wide), wide.double() @ exact.mT),
        (made.along(long), long.double() @ exact),
    ):
        assert found.dtype == precision
        assert found.shape == expected.shape
        assert float((found.double() - expected).abs().max() / expected.abs().max()) < ERROR[precision]


def test_rows_keep_their_precision() -> None:
    made = Products(torch.ones(1, 3, 2, dtype=torch.bfloat16), 1)
    assert made.across(torch.ones(1, 1, 1, 2)).dtype == torch.float32


def test_without_onednn_products_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LARGE", 1)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    matrices, left = torch.randn(2, 30, 20), torch.randn(2, 1, 5, 20)
    assert torch.equal(Products(matrices, 5).across(left), (left[:, 0] @ matrices.mT)[:, None])
