"""What stands behind a frozen encoder, as plain torch: a linear map, or the votes of kept features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

HEAD = "head.safetensors"


class Head(nn.Module):
    """Features to class logits, in double precision, as heads are scored.

    Attributes:
        kind: its name in the model card.
        unit: whether standardised features are scaled to length one.
        rounded: whether features are rounded to half precision first, as kept features are.
    """

    kind: str
    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, unit: bool, rounded: bool) -> None:
        """Standardises with the mean and the inverse standard deviation [D] of the train pool."""
        super().__init__()
        self.unit, self.rounded = unit, rounded
        self.register_buffer("mean", mean.double())
        self.register_buffer("scale", scale.double())

    def points(self, features: Tensor) -> Tensor:
        """Features [N, D] of any precision in the units of the head, float64 [N, D]."""
        kept = features.half() if self.rounded else features
        standardised = (kept.double() - self.mean) * self.scale
        return functional.normalize(standardised, dim=1) if self.unit else standardised

    def settings(self) -> dict[str, Any]:
        """What rebuilds the head beside its tensors, plain JSON data."""
        return {"kind": self.kind, "unit": self.unit, "rounded": self.rounded}


class LinearHead(Head):
    """Logits = points @ weight + bias: a linear probe, the nearest centroid, the head of a fine-tuned encoder."""

    kind = "linear"
    weight: Tensor
    bias: Tensor

    def __init__(
        self, mean: Tensor, scale: Tensor, weight: Tensor, bias: Tensor, unit: bool = False, rounded: bool = True
    ) -> None:
        """Of weight [D, K] and bias [K], about -1e30 for a class that the budget held no label of."""
        super().__init__(mean, scale, unit, rounded)
        self.register_buffer("weight", weight.double())
        self.register_buffer("bias", bias.double())

    def forward(self, features: Tensor) -> Tensor:
        """Logits, float64 [N, K], of features [N, D]."""
        return self.points(features) @ self.weight + self.bias


class VoteHead(Head):
    """Logits = log of the share of votes of the k nearest labelled images; 1 / K is added to every class's votes.

    That leaves the order of the classes as it is, and none impossible.
    """

    kind = "votes"
    bank: Tensor
    labels: Tensor

    def __init__(
        self,
        mean: Tensor,
        scale: Tensor,
        bank: Tensor,
        labels: Tensor,
        k: int,
        classes: int,
        unit: bool = False,
        rounded: bool = True,
    ) -> None:
        """Of standardised features [n, D] and their labels [n], in the order in which equal distances are taken."""
        super().__init__(mean, scale, unit, rounded)
        self.k, self.classes = k, classes
        self.register_buffer("bank", bank.float())
        self.register_buffer("labels", labels)

    def forward(self, features: Tensor) -> Tensor:
        """Logits, float64 [N, K], of features [N, D]."""
        points, known = self.points(features), self.bank.double()
        known = functional.normalize(known, dim=1) if self.unit else known
        distance = points.square().sum(1, keepdim=True) + known.square().sum(1) - 2 * points @ known.mT
        distance = distance.clamp(min=0)
        onehot = functional.one_hot(self.labels, self.classes).double()
        votes = torch.zeros_like(points[:, :1]).expand(-1, self.classes)
        for _ in range(self.k):  # of equal distances the first, which a top-k does not promise
            nearest = distance.argmin(1)
            votes = votes + onehot[nearest]
            distance = distance.masked_fill(functional.one_hot(nearest, len(self.labels)).bool(), torch.inf)
        return ((votes + 1 / self.classes) / (self.k + 1)).log()

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"k": self.k, "classes": self.classes}


HEADS: dict[str, type[Head]] = {head.kind: head for head in (LinearHead, VoteHead)}


def save_head(head: Head, folder: Path) -> None:
    """Writes the head's tensors to `head.safetensors` in the folder."""
    save_file({name: tensor.cpu().contiguous() for name, tensor in head.state_dict().items()}, folder / HEAD)


def load_head(settings: Mapping[str, Any], folder: Path) -> Head:
    """The head that `save_head` wrote, from the settings in its card; nothing is unpickled."""
    arguments = {name: value for name, value in settings.items() if name != "kind"}
    return HEADS[settings["kind"]](**load_file(folder / HEAD), **arguments).eval()
