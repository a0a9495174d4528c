"""Optimisers: parameter groups, schedule and layer decay of AdamW; LARS."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import Tensor, nn

TOKENS = ("cls_token", "mask_token", "pos_embed", "reg_token")


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trainable parameters, decayed or exempt: biases, everything one-dimensional and tokens are exempt."""
    return param_groups_weight_decay(module, weight_decay, no_weight_decay_list=_tokens(module))


def layer_decay_groups(
    backbone: nn.Module, head: nn.Module, *, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Groups for fine-tuning: a layer's `lr_scale` is layer_decay to the number of layers above it, so the head's is 1.

    What counts as a layer is timm's to say: the final norm goes with the last block. Frozen parameters are left out.

    Args:
        backbone: of an encoder: a timm network or one that describes its depth as timm's do (`group_matcher`).
        head: what is trained on top.
        weight_decay: as in `parameter_groups`.
        layer_decay: MAE's recipe says 0.75; 1 for none.
    """
    below = param_groups_layer_decay(backbone, weight_decay, _tokens(backbone), layer_decay=layer_decay)
    above = [group | {"lr_scale": 1.0} for group in parameter_groups(head, weight_decay)]
    for group in below:
        group["lr_scale"] *= layer_decay  # timm counts from the backbone's own last layer
    return [*below, *above]


def merged(groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same settings of the same parameters in as few groups as will do: each costs a call of the kernel."""
    joined: dict[tuple[tuple[str, Any], ...], list[nn.Parameter]] = {}
    for group in groups:
        settings = tuple(sorted((name, value) for name, value in group.items() if name != "params"))
        joined.setdefault(settings, []).extend(group["params"])
    return [dict(settings) | {"params": parameters} for settings, parameters in joined.items()]


def adamw(groups: Iterable[Mapping[str, Any]], lr: float, betas: tuple[float, float]) -> torch.optim.AdamW:
    """AdamW, one kernel for all parameters."""
    return torch.optim.AdamW([dict(group) for group in groups], lr=lr, betas=betas, fused=True)


class Lars(torch.optim.Optimizer):
    """LARS as linear probes of self-supervised encoders use it (arXiv 1708.03888; MAE, arXiv 2111.06377, table 10).

    g <- g + weight_decay * p;  q = trust * |p| / |g|, or 1 where either is zero;  mu <- momentum * mu + q * g;
    p <- p - lr * mu. One-dimensional parameters skip the weight decay and the trust ratio.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | Iterable[Mapping[str, Any]],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust}
        groups = [dict(item) if isinstance(item, Mapping) else item for item in parameters]
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                update = parameter.grad
                if parameter.ndim > 1:
                    update = _trusted(parameter, update.add(parameter, alpha=group["weight_decay"]), group["trust"])
                state = self.state[parameter]
                if "mu" not in state:
                    state["mu"] = torch.zeros_like(parameter)
                state["mu"].mul_(group["momentum"]).add_(update)
                parameter.sub_(state["mu"], alpha=group["lr"])


def _trusted(parameter: Tensor, update: Tensor, trust: float) -> Tensor:
    """The update times the trust ratio."""
    size, change = torch.linalg.vector_norm(parameter), torch.linalg.vector_norm(update)
    return update * torch.where((size > 0) & (change > 0), trust * size / change, 1.0)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the learning rate of every group, times the group's `lr_scale` where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)


def set_weight_decay(optimizer: torch.optim.Optimizer, weight_decay: float) -> None:
    """Sets the weight decay of every group that has one."""
    for group in optimizer.param_groups:
        if group["weight_decay"]:
            group["weight_decay"] = weight_decay


def cosine(step: int, steps: int, warmup: float) -> float:
    """The learning rate of a step as a share of the peak: linear warm-up, then half a cosine to zero.

    Args:
        step: from 0.
        steps: of the whole training.
        warmup: share of the steps to warm up in; the last of them runs at the peak.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _tokens(module: nn.Module) -> set[str]:
    return {name for name, _ in module.named_parameters() if name.rsplit(".", 1)[-1] in TOKENS}
