"""Mixed precision: bfloat16 where it pays, float32 where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode


class _AttentionInFloat32(TorchFunctionMode):
    """Attention in float32 inside bfloat16 networks.

    PyTorch's kernel for a CPU takes two to five times as long in bfloat16, most of it backward, and is no more exact.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is not scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        with torch.autocast("cpu", enabled=False):
            found: Tensor = func(
                *map(_single, args), **{name: _single(value) for name, value in (kwargs or {}).items()}
            )
        return found.bfloat16()


def _single(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


@contextmanager
def mixed_precision(device: torch.device, precision: str) -> Iterator[None]:
    """Autocast to bfloat16 inside, where `precision` is "bf16"; nothing where it is "fp32"."""
    if precision != "bf16":
        yield
        return
    with torch.autocast(device.type, torch.bfloat16):
        if device.type != "cpu":
            yield
            return
        with _AttentionInFloat32():
            yield
