"""Mixed precision: what is computed in bfloat16, what in float32, and that training gets where float32 gets."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import linear, scaled_dot_product_attention

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.registry import build_method
from bench.study.methods import MaeOptions
from bench.training.precision import mixed_precision

CPU = torch.device("cpu")


@pytest.fixture
def qkv() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 2, 9, 16, generator=generator).bfloat16().requires_grad_() for _ in range(3)]


def test_products_are_in_bfloat16_and_attention_in_float32(qkv: list[torch.Tensor]) -> None:
    mask = torch.zeros(9, 9, dtype=torch.bfloat16)
    expected = scaled_dot_product_attention(*(each.float() for each in qkv)).bfloat16()
    with mixed_precision(CPU, "bf16"):
        assert linear(torch.ones(2, 3), torch.ones(4, 3)).dtype == torch.bfloat16
        for found in (
            scaled_dot_product_attention(*qkv),
            scaled_dot_product_attention(*qkv, mask),
            scaled_dot_product_attention(*qkv, attn_mask=mask, dropout_p=0.0),
        ):
            assert found.dtype == torch.bfloat16
            assert torch.equal(found, expected)
        found.sum().backward()
    gradients = [each.grad for each in qkv]
    plain = [each.detach().float().requires_grad_() for each in qkv]
    scaled_dot_product_attention(*plain).bfloat16().sum().backward()
    for found, wanted in zip(gradients, plain, strict=True):
        assert found is not None
        assert wanted.grad is not None
        assert torch.equal(found, wanted.grad.bfloat16())
    assert linear(torch.ones(2, 3), torch.ones(4, 3)).dtype == torch.float32  # behind the block all is as before


def test_attention_is_at_least_as_exact_as_pytorchs_own(qkv: list[torch.Tensor]) -> None:
    exact = scaled_dot_product_attention(*(each.double() for each in qkv))
    with torch.autocast("cpu", torch.bfloat16):
        plain = scaled_dot_product_attention(*qkv)
    with mixed_precision(CPU, "bf16"):
        ours = scaled_dot_product_attention(*qkv)
    assert (ours - exact).abs().max() <= (plain - exact).abs().max() * 1.01


def test_float32_is_left_alone(qkv: list[torch.Tensor]) -> None:
    single = [each.detach().float() for each in qkv]
    expected = scaled_dot_product_attention(*single)
    with mixed_precision(CPU, "fp32"):
        assert torch.equal(scaled_dot_product_attention(*single), expected)


def losses(precision: str, steps: int = 30) -> list[float]:
    """Of a small masked autoencoder on made images."""
    shape = ImageShape(3, 16, 16)
    options = MaeOptions(encoder="vit_nano", patch_size=4, decoder_depth=1, decoder_width=32, decoder_heads=2)
    method = build_method("mae", options, shape, [0.5] * 3, [0.25] * 3, 0).train()
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)
    ramp = torch.linspace(0, 1, 16)
    images = torch.stack([(ramp[:, None] * (i % 5) / 4 + ramp * (i % 3) / 2).expand(3, 16, 16) / 2 for i in range(32)])
    found = []
    for step in range(steps):
        with mixed_precision(CPU, precision):
            loss, _ = method.loss(images, Draws(step, 32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def test_the_loss_falls_as_in_float32() -> None:
    single, mixed = (sum(losses(precision)[-10:]) / 10 for precision in ("fp32", "bf16"))
    assert single < 0.45
    assert mixed == pytest.approx(single, rel=0.05)
