"""Binary masks over frozen weights: scores, threshold, straight-through gradient, one scale a tensor (2409.07577)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.errors import UserError

# what the published code masks: any name with these words in a convolutional network, affine parameters of the
# batch norms in the shortcuts among them; weights and biases of attention and MLP in a transformer
PUBLISHED_CONVOLUTIONAL = "conv|downsample"
PUBLISHED_TRANSFORMER = r"(^|\.)(attn\.(qkv|proj)|mlp\.fc[12])\."


class _StraightThrough(torch.autograd.Function):
    """The mask forward; the mask's gradient handed to the scores backward."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, chosen: Tensor) -> Tensor:
        return chosen.to(scores.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def mask_above(scores: Tensor, threshold: float) -> Tensor:
    """M = 1[S > threshold], strictly (equation 1), 0 or 1 in the scores' dtype; dL/dS is dL/dM."""
    return _StraightThrough.apply(scores, scores > threshold)


def mask_top(scores: Tensor, density: float) -> Tensor:
    """The share `density` of a tensor's highest scores (edge-popup, arXiv 1911.13299); gradient as `mask_above`."""
    chosen = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    chosen[scores.detach().flatten().topk(round(density * scores.numel())).indices] = True
    return _StraightThrough.apply(scores, chosen.view_as(scores))


def apply_mask(weight: Tensor, mask: Tensor, *, scale_gradient: bool = True) -> Tensor:
    """W = theta * M * sqrt(1 / mean(M)) (equation 2); a mask of ones gives theta itself, one of zeros NaN.

    The count is summed in float64, so that a device or the length of a tensor does not show in the scale.

    Args:
        weight: theta, any shape.
        mask: zeros and ones, as the weight.
        scale_gradient: whether the scale is differentiated too, as in the published code, or taken as a constant.
    """
    share = mask.sum(dtype=torch.float64) / mask.numel()
    if not scale_gradient:
        share = share.detach()
    return weight * mask * (1 / share).sqrt().to(weight.dtype)


class Scores(nn.Module):
    """A score for every masked weight of a network.

    Attributes:
        names: the masked parameters, in the network's order.
    """

    def __init__(
        self, network: nn.Module, names: Sequence[str], *, threshold: float = 0.0, initial: float = 1.0
    ) -> None:
        """Scores that are all `initial`; the masks are open where that is above the threshold."""
        super().__init__()
        self.names = tuple(names)
        self.threshold = threshold
        parameters = [network.get_parameter(name) for name in self.names]
        self.values = nn.ParameterList(torch.full_like(parameter, initial) for parameter in parameters)

    def masks(self) -> Iterator[Tensor]:
        """The mask of every tensor, zeros and ones."""
        return (mask_above(scores, self.threshold) for scores in self.values)

    def weights(self, network: nn.Module, *, scale_gradient: bool = True) -> dict[str, Tensor]:
        """The masked and scaled weights of the network by name."""
        return {
            name: apply_mask(network.get_parameter(name), mask, scale_gradient=scale_gradient)
            for name, mask in zip(self.names, self.masks(), strict=True)
        }

    @torch.no_grad()
    def chosen(self) -> dict[str, Tensor]:
        """The masks as bits by name, bool on the CPU."""
        return {name: mask.bool().cpu() for name, mask in zip(self.names, self.masks(), strict=True)}


class TopScores(Scores):
    """Edge-popup: each tensor keeps a fixed share of its weights, those with the highest scores."""

    def __init__(self, network: nn.Module, names: Sequence[str], densities: Mapping[str, float]) -> None:
        """Kaiming-uniform scores, from torch's global generator: seed and fork around it."""
        super().__init__(network, names)
        self.densities = [densities[name] for name in self.names]
        for scores in self.values:
            if scores.ndim > 1:
                nn.init.kaiming_uniform_(scores, a=math.sqrt(5))
            else:
                nn.init.uniform_(scores, -1 / math.sqrt(len(scores)), 1 / math.sqrt(len(scores)))

    def masks(self) -> Iterator[Tensor]:
        return (mask_top(scores, density) for scores, density in zip(self.values, self.densities, strict=True))


class RandomScores(Scores):
    """Masks that are drawn once, each weight open with its tensor's probability, and not learned."""

    def __init__(self, network: nn.Module, names: Sequence[str], densities: Mapping[str, float]) -> None:
        """Draws from torch's global generator: seed and fork around it."""
        super().__init__(network, names)
        for name, scores in zip(self.names, self.values, strict=True):
            scores.data = (torch.rand_like(scores) < densities[name]).to(scores.dtype)
        self.requires_grad_(False)


def masked_names(network: nn.Module, masked: str, where: str = "masked") -> tuple[str, ...]:
    """The parameters that are masked, in the network's order.

    Args:
        network: the backbone.
        masked: "weights": the kernels of convolutions and linear maps; "as_published": what the published code takes;
            or a regular expression, searched for in the names of the parameters.
        where: the option's name, for the error.

    Raises:
        UserError: the network has no such parameter.
    """
    names = [name for name, _ in network.named_parameters()]
    if masked == "weights":
        kinds = (nn.modules.conv._ConvNd, nn.Linear)
        kernels = {f"{name}.weight" for name, module in network.named_modules() if isinstance(module, kinds)}
        found = [name for name in names if name in kernels]
    elif masked == "as_published":
        found = [name for name in names if re.search(PUBLISHED_TRANSFORMER, name)] if _attends(names) else []
        found = found or [name for name in names if re.search(PUBLISHED_CONVOLUTIONAL, name)]
    else:
        found = [name for name in names if re.search(masked, name)]
    if not found:
        some = ", ".join(names[:4]) or "none at all"
        raise UserError(
            f"{where}: {masked!r} chooses no parameter of this {type(network).__name__}; its parameters are {some}"
            f"{', ...' if len(names) > 4 else ''}"
        )
    return tuple(found)


def _attends(names: Sequence[str]) -> bool:
    return any("attn." in name for name in names)


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """Every batch norm that keeps running statistics."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
