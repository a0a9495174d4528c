"""Mixed precision: what is computed in bfloat16, what in float32, and that training gets where float32 gets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import linear, scaled_dot_product_attention

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.registry import build_method
from bench.study.methods import MaeOptions
from bench.training import precision
from bench.training.precision import mixed_precision

CPU = torch.device("cpu")


@pytest.fixture
def qkv() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 2, 9, 16, generator=generator).bfloat16().requires_grad_() for _ in range(3)]


def test_products_are_in_bfloat16() -> None:
    with mixed_precision(CPU, "bf16"):
        assert linear(torch.ones(2, 3), torch.ones(4, 3)).dtype == torch.bfloat16
    assert linear(torch.ones(2, 3), torch.ones(4, 3)).dtype == torch.float32  # behind the block all is as before


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("named", [{}, {"attn_mask": None, "dropout_p": 0.0}, {"attn_mask": torch.zeros(9, 9)}])
def test_attention_is_that_of_float32(
    qkv: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch, named: dict[str, Any], long: bool
) -> None:
    if long:
        monkeypatch.setattr(precision, "SHORT", 8)
    single = [each.detach().float().requires_grad_() for each in qkv]
    expected = scaled_dot_product_attention(*single)
    expected.sum().backward()
    with mixed_precision(CPU, "bf16"):
        found = scaled_dot_product_attention(*qkv, **named)
    found.sum().backward()
    assert found.dtype == torch.bfloat16
    written_out = not long and named.get("attn_mask") is None
    assert torch.equal(found, expected.bfloat16()) == (not written_out)
    torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.01)
    for ours, theirs in zip(qkv, single, strict=True):
        torch.testing.assert_close(ours.grad.float(), theirs.grad, rtol=0.02, atol=0.02)


def test_a_mask_by_position_counts(qkv: list[torch.Tensor]) -> None:
    mask = torch.ones(9, 9, dtype=torch.bool).tril()
    with mixed_precision(CPU, "bf16"):
        found = scaled_dot_product_attention(*qkv, mask)
        causal = scaled_dot_product_attention(*qkv, is_causal=True)
    expected = scaled_dot_product_attention(*(each.float() for each in qkv), mask).bfloat16()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(causal, expected)


def test_a_scale_of_its_own_counts(qkv: list[torch.Tensor]) -> None:
    with mixed_precision(CPU, "bf16"):
        found = scaled_dot_product_attention(*qkv, scale=1.0)
    expected = scaled_dot_product_attention(*(each.float() for each in qkv), scale=1.0).bfloat16()
    torch.testing.assert_close(found, expected)


def test_attention_is_about_as_exact_as_pytorchs_own() -> None:
    generator = torch.Generator().manual_seed(0)
    wide = [torch.randn(8, 2, 65, 64, generator=generator).bfloat16() for _ in range(3)]

    def errors(in_ours: bool) -> list[float]:
        leaves = [each.clone().requires_grad_() for each in wide]
        with mixed_precision(CPU, "bf16") if in_ours else torch.autocast("cpu", torch.bfloat16):
            found = scaled_dot_product_attention(*leaves)
        (found.double() * weights).sum().backward()
        return [off(found, expected), *(off(a.grad, b.grad) for a, b in zip(leaves, exact, strict=True))]

    def off(found: torch.Tensor, wanted: torch.Tensor) -> float:
        return float(((found.double() - wanted).norm() / wanted.norm()).detach())

    exact = [each.double().requires_grad_() for each in wide]
    expected = scaled_dot_product_attention(*exact)
    weights = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    (expected * weights).sum().backward()
    ours, theirs = errors(True), errors(False)
    assert max(ours) <= max(theirs)
    assert ours[0] <= 1.5 * theirs[0]


def test_float32_is_left_alone(qkv: list[torch.Tensor]) -> None:
    single = [each.detach().float() for each in qkv]
    expected = scaled_dot_product_attention(*single)
    with mixed_precision(CPU, "fp32"):
        assert torch.equal(scaled_dot_product_attention(*single), expected)


def losses(name: str, steps: int = 30) -> list[float]:
    """Of a small masked autoencoder on made images."""
    shape = ImageShape(3, 16, 16)
    options = MaeOptions(encoder="vit_nano", patch_size=4, decoder_depth=1, decoder_width=32, decoder_heads=2)
    method = build_method("mae", options, shape, [0.5] * 3, [0.25] * 3, 0).train()
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)
    ramp = torch.linspace(0, 1, 16)
    images = torch.stack([(ramp[:, None] * (i % 5) / 4 + ramp * (i % 3) / 2).expand(3, 16, 16) / 2 for i in range(32)])
    found = []
    for step in range(steps):
        with mixed_precision(CPU, name):
            loss, _ = method.loss(images, Draws(step, 32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def test_the_loss_falls_as_in_float32() -> None:
    single, mixed = (sum(losses(name)[-10:]) / 10 for name in ("fp32", "bf16"))
    assert single < 0.45
    assert mixed == pytest.approx(single, rel=0.05)
