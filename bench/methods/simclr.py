"""SimCLR, arXiv 2002.05709: two views of an image find each other among the views of all other images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.data.augment import augment, find_policy
from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.base import Method
from bench.methods.encoder import build_encoder
from bench.methods.gather import gather, rank_of
from bench.study.methods import SimclrOptions


class Simclr(Method):
    """Backbone, mean over the map, a two-layer projection head, NT-Xent over the global batch."""

    def __init__(self, options: SimclrOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(build_encoder(options.encoder, shape, mean, std, patch_size=options.patch_size))
        self.policy = find_policy(options.augmentation)
        self.temperature = options.temperature
        features = self.backbone.layers[self.backbone.default_layer].channels
        self.projection = nn.Sequential(
            nn.Linear(features, options.projection_width),
            nn.ReLU(inplace=True),
            nn.Linear(options.projection_width, options.projection_out),
        )

    def loss(self, images: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        views = torch.cat([augment(images, self.policy, draws), augment(images, self.policy, draws)])
        first, second = self.projection(self.backbone(views)).chunk(2)
        return nt_xent(first, second, self.temperature, workers=draws.batch // draws.local)

    @torch.no_grad()
    def preview(self, images: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The two views that are to find each other."""
        first, second = augment(images, self.policy, draws), augment(images, self.policy, draws)
        return {"input": images, "view1": first, "view2": second}


def nt_xent(first: Tensor, second: Tensor, temperature: float, *, workers: int = 1) -> tuple[Tensor, dict[str, Tensor]]:
    """Normalised temperature-scaled cross-entropy (equation 1), with the views of all workers as candidates.

    Args:
        first: projections of this worker's first views, [n, d].
        second: projections of the second views of the same images, [n, d].
        temperature: of the cosine similarities.
        workers: number of workers that hold a part of the batch each.

    Returns:
        The mean over this worker's 2n views, and the share of views that are nearest to their partner.
    """
    count, total = len(first), len(first) * workers
    with torch.autocast(first.device.type, enabled=False):  # similarities in float32
        first, second = (functional.normalize(view.float(), dim=1) for view in (first, second))
        candidates = torch.cat([gather(first, workers), gather(second, workers)])
        logits = torch.cat([first, second]) @ candidates.T / temperature
    place = rank_of(workers) * count + torch.arange(count, device=first.device)
    itself, partner = torch.cat([place, place + total]), torch.cat([place + total, place])
    logits = logits.scatter(1, itself.unsqueeze(1), -torch.inf)
    found = (logits.detach().argmax(dim=1) == partner).float().mean()
    return functional.cross_entropy(logits, partner), {"found": found}
