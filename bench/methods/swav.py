"""SwAV, arXiv 2006.09882: every crop of an image predicts the prototypes that its other large crop is assigned to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.attention import pooled
from bench.methods.base import Method
from bench.methods.crops import multi_crop
from bench.methods.encoder import build_encoder
from bench.methods.prototypes import SwavHead
from bench.study.methods.swav import SwavOptions


class Swav(Method):
    """Backbone, mean over the map, projection and prototypes; codes from Sinkhorn over the global batch and a queue."""

    def __init__(self, options: SwavOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(build_encoder(options.encoder, shape, mean, std, patch_size=options.patch_size))
        self.options = options
        self.crops = multi_crop(options, self.backbone)
        self.head = self.make_head()
        self.frozen = False

    def make_head(self) -> SwavHead:
        """A new projection and new prototypes, from torch's global generator: seed and fork around it."""
        options = self.options
        return SwavHead(
            self.backbone.layers[self.backbone.default_layer].channels,
            width=options.projection_width,
            out=options.projection_out,
            prototypes=options.prototypes,
            queue=options.queue,
            temperature=options.temperature,
            epsilon=options.sinkhorn_epsilon,
            iterations=options.sinkhorn_iterations,
        )

    def begin_step(self, step: int, steps: int, epoch: int) -> None:
        options = self.options
        self.frozen = step < options.freeze_steps
        opening = round(options.queue_from * steps)
        self.head.begin_step(steps_of_queue=step - opening, batch=options.batch_size)

    def loss(self, images: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        features = torch.cat([pooled(self.backbone, views) for views in self.crops(images, draws)])
        return self.head.loss(features.unflatten(0, (-1, len(images))), draws.batch // draws.local)

    def adjust_gradients(self) -> None:
        if self.frozen:
            self.head.prototypes.grad = None

    def end_step(self) -> None:
        self.head.end_step()

    def measurements(self) -> dict[str, float]:
        """How many prototypes are in use, and how sharp the assignments are (`Usage.measurements`)."""
        return self.head.usage.measurements()

    def preview(self, images: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The crops that predict each other, stretched to the size of the image."""
        return {"input": images} | self.crops.pictures(images, draws)
