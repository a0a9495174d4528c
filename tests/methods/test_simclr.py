from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.base import Method
from bench.methods.simclr import nt_xent


def naive_nt_xent(first: torch.Tensor, second: torch.Tensor, temperature: float) -> float:
    """Equation 1 of the paper, one pair at a time."""
    views = [view for pair in zip(first, second, strict=True) for view in pair]
    total = 0.0
    for i in range(len(views)):
        partner = i + 1 if i % 2 == 0 else i - 1
        similarity = [functional.cosine_similarity(views[i], view, dim=0) / temperature for view in views]
        others = sum(torch.exp(similarity[k]) for k in range(len(views)) if k != i)
        total -= float(torch.log(torch.exp(similarity[partner]) / others))
    return total / len(views)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
def test_nt_xent_is_equation_1(temperature: float) -> None:
    first, second = torch.randn(2, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loss, logged = nt_xent(first, second, temperature)
    assert loss.item() == pytest.approx(naive_nt_xent(first, second, temperature), rel=1e-5)
    assert 0 <= logged["found"] <= 1


def test_identical_views_of_far_images_are_found() -> None:
    views = torch.eye(6)
    loss, logged = nt_xent(views, views, 0.01)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert logged["found"] == 1


def test_views_of_one_point_cost_the_logarithm_of_the_others() -> None:
    views = torch.ones(6, 4)
    assert nt_xent(views, views, 0.5)[0].item() == pytest.approx(torch.log(torch.tensor(11.0)).item(), rel=1e-5)


@pytest.mark.parametrize("encoder", ["conv_nano", "vit_nano", "timm/test_resnet"])
def test_any_family_that_pools_can_be_contrasted(make: Callable[..., Method], encoder: str) -> None:
    method = make("simclr", ImageShape(3, 32, 32), encoder=encoder)
    loss, _ = method.loss(torch.rand(4, 3, 32, 32), Draws(0, 4))
    loss.backward()
    assert torch.isfinite(loss)


def test_the_two_views_differ(make: Callable[..., Method]) -> None:
    pictures = make("simclr").preview(torch.rand(4, 1, 8, 8), Draws(0, 4))
    assert not torch.allclose(pictures["view1"], pictures["view2"])
