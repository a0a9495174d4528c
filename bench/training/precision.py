"""Mixed precision: bfloat16 where it pays, float32 where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

SHORT = 256  # tokens up to which all scores of an attention are kept for the backward pass


class _Attention(TorchFunctionMode):
    """Attention inside bfloat16 networks: scores in float32, what they weigh in bfloat16.

    PyTorch's kernel for a CPU takes two to five times as long in bfloat16 as in float32, most of it backward. Of few
    tokens the products written out are quicker than its kernel in float32 too, which takes the others and masks.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func is not scaled_dot_product_attention:
            return func(*args, **named)
        with torch.autocast("cpu", enabled=False):
            if len(args) == 3 and all(each.shape[-2] <= SHORT for each in args) and _is_plain(named):
                return _written_out(*args)
            found: Tensor = func(*map(_single, args), **{name: _single(value) for name, value in named.items()})
        return found.bfloat16()


def _is_plain(named: Mapping[str, Any]) -> bool:
    """Whether keywords of an attention ask for nothing: no mask, no dropout, no scale of its own."""
    return all(value is None or (not isinstance(value, Tensor) and not value) for value in named.values())


def _written_out(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = (query.float() * query.shape[-1] ** -0.5) @ key.float().mT
    return scores.softmax(-1).bfloat16() @ value.bfloat16()


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
        with _Attention():
            yield
