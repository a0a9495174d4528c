"""A dispatcher and its experts as one encoder: features side by side, reduced to one network's width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.shape import ImageShape
from bench.methods.conv import ConvEncoder
from bench.methods.feature_maps import Encoder, LayerInfo
from bench.methods.router import Router
from bench.methods.timm_encoder import TimmEncoder
from bench.methods.vit import VitEncoder
from bench.study.methods.self_masking import CASCADE, Routing

PARTS: dict[str, type[Encoder]] = {"conv": ConvEncoder, "vit": VitEncoder, "timm": TimmEncoder}


class Cascade(nn.Module):
    """What a cascade keeps: its networks, the dispatcher first, the router, the reduction to one network's width."""

    def __init__(self, parts: Sequence[Encoder], router: Router) -> None:
        super().__init__()
        width = parts[0].layers[parts[0].default_layer].channels
        self.parts = nn.ModuleList(parts)
        self.router = router
        self.reduction = nn.Linear(len(parts) * width, width)


class CascadeEncoder(Encoder):
    """Networks of one family that differ in their weights; its one layer is "cascade"."""

    backbone: Cascade

    def __init__(
        self,
        shape: ImageShape,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        family: str,
        network: Mapping[str, Any],
        experts: int,
        dimensions: int,
        routing: Routing,
    ) -> None:
        """Builds the networks, freshly initialised.

        Args:
            shape: of the images.
            mean: of the normalisation, one per channel.
            std: of the normalisation, one per channel.
            family: of the networks, a key of PARTS.
            network: the sizes of each of them.
            experts: networks beside the dispatcher; 0 leaves a single network, reduced like several.
            dimensions: of the router.
            routing: conditional: every image passes the dispatcher and one expert; unconditional: all networks.
        """
        parts = [PARTS[family](shape, mean, std, **network) for _ in range(1 + experts)]
        width = parts[0].layers[parts[0].default_layer].channels
        super().__init__(
            Cascade(parts, Router(width, dimensions, experts)),
            shape,
            mean,
            std,
            layers={CASCADE: LayerInfo(width, max(shape.height, shape.width))},
            default_layer=CASCADE,
            arguments={
                "family": family,
                "network": dict(network),
                "experts": experts,
                "dimensions": dimensions,
                "routing": routing,
            },
        )

    def maps(self, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        return {CASCADE: self.backbone.reduction(self.side_by_side(images))[:, :, None, None]}

    def side_by_side(self, images: Tensor) -> Tensor:
        """Normalised images to [D(x), E_1(x), ..., E_n(x)], before the reduction: [N, (1 + experts) x width].

        Conditional features are zero in the blocks of all experts but the one the image goes to.
        """
        experts = range(1, len(self.backbone.parts))
        dispatched = self._vectors(0, images)
        if self.arguments["routing"] == "unconditional":
            return torch.cat([dispatched, *(self._vectors(expert, images) for expert in experts)], dim=1)
        blocks = dispatched.new_zeros(len(images), len(experts), dispatched.shape[1])
        for place, rows in groups(self.backbone.router(dispatched), len(experts)):
            blocks[rows, place] = self._vectors(1 + place, images[rows])
        return torch.cat([dispatched, blocks.flatten(1)], dim=1)

    def _vectors(self, part: int, images: Tensor) -> Tensor:
        encoder = self.backbone.parts[part]
        return encoder.maps(images, (encoder.default_layer,))[encoder.default_layer].mean(dim=(2, 3))


def groups(routes: Tensor, count: int) -> Iterator[tuple[int, Tensor]]:
    """The images of each group that has some: number of the group, int64 rows.

    Where tensors have no values (the meta device, on which arithmetic is counted) all images are of the first group:
    each passes one expert in any case.
    """
    if routes.is_meta and count:
        yield 0, torch.arange(len(routes), device=routes.device)
        return
    for group in range(count):
        rows = (routes == group).nonzero().squeeze(1)
        if len(rows):
            yield group, rows
