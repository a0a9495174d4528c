"""DINO, arXiv 2104.14294: a student transformer predicts from every crop what its slow teacher says of the large ones.

The teacher is the running mean of the student. Its outputs are kept from collapsing by centring and sharpening, or by
Sinkhorn-Knopp as in DINOv2 (arXiv 2304.07193).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.attention import check_class_token, cls_attention, last_tokens
from bench.methods.base import Method
from bench.methods.crops import multi_crop
from bench.methods.encoder import Encoder, build_encoder
from bench.methods.gather import gather, rank_of
from bench.methods.prototypes import BatchNorm, Usage, swapped_prediction, unit_rows
from bench.methods.sinkhorn import sinkhorn
from bench.study.methods.dino import DinoOptions


class Dino(Method):
    """Student and teacher, section 3.1; the teacher's backbone is what the pretraining leaves behind, as in the paper.

    `backbone` and `head` are the student's.
    """

    centre: Tensor

    def __init__(self, options: DinoOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(build_encoder(options.encoder, shape, mean, std, patch_size=options.patch_size))
        check_class_token(self.backbone, "dino.encoder", options.encoder)
        self.options = options
        self.crops = multi_crop(options, self.backbone)
        features = self.backbone.layers[self.backbone.default_layer].channels
        self.head = Head(
            features, options.head_width, options.bottleneck, options.prototypes, batch_norm=options.batch_norm
        )
        self.teacher_backbone = copy.deepcopy(self.backbone).requires_grad_(False)
        self.teacher_head = copy.deepcopy(self.head).requires_grad_(False)
        self.register_buffer("centre", torch.zeros(options.prototypes))
        self.usage = Usage(options.prototypes)
        self._latest: Tensor | None = None
        self.begin_step(0, 1, 0)

    def begin_step(self, step: int, steps: int, epoch: int) -> None:
        options = self.options
        self.momentum = 1 - (1 - options.momentum) * (1 + math.cos(math.pi * step / steps)) / 2
        rise = min(1.0, step / max(1.0, options.temperature_warmup * steps))
        first, last = options.teacher_temperature_start, options.teacher_temperature
        self.teacher_temperature = first + (last - first) * rise
        self.frozen = epoch < options.freeze_epochs

    def loss(self, images: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        views, workers = self.crops(images, draws), draws.batch // draws.local
        with torch.no_grad():
            taught = self.teacher_head(last_tokens(self.teacher_backbone, views[0]).cls, workers)
            codes = self.codes(taught.float().unflatten(0, (2, -1)), workers)
        said = self.head(torch.cat([last_tokens(self.backbone, crops).cls for crops in views]), workers)
        self.usage.observe(codes, workers)
        logits = said.float().unflatten(0, (-1, len(images))) / self.options.student_temperature
        with torch.autocast(images.device.type, enabled=False):
            return swapped_prediction(codes, logits), {}

    @torch.no_grad()
    def codes(self, taught: Tensor, workers: int) -> Tensor:
        """The teacher's outputs [2, N, prototypes] as targets that sum to 1, centred or balanced over all workers."""
        self._latest = gather(taught.mean(dim=(0, 1)).unsqueeze(0), workers).mean(dim=0)
        if self.options.centring == "centre":
            return ((taught - self.centre) / self.teacher_temperature).softmax(dim=2)
        everyone = gather(taught.transpose(0, 1), workers)  # [global N, 2, prototypes]
        balanced = sinkhorn(everyone.flatten(0, 1), self.teacher_temperature, self.options.sinkhorn_iterations)
        mine = slice(rank_of(workers) * taught.shape[1], (rank_of(workers) + 1) * taught.shape[1])
        return balanced.unflatten(0, (-1, 2))[mine].transpose(0, 1)

    def adjust_gradients(self) -> None:
        if self.frozen:
            self.head.prototypes.grad = None
        if self.options.clip is not None:
            nn.utils.clip_grad_norm_([*self.backbone.parameters(), *self.head.parameters()], self.options.clip)

    @torch.no_grad()
    def end_step(self) -> None:
        """Behind the update: the teacher follows the student, the centre the teacher's mean output."""
        follow = get_ema_multi_avg_fn(self.momentum)
        for teacher, student in ((self.teacher_backbone, self.backbone), (self.teacher_head, self.head)):
            follow(list(teacher.parameters()), list(student.parameters()), None)
        if self._latest is not None:
            self.centre.lerp_(self._latest, 1 - self.options.centre_momentum)
            self._latest = None
        self.usage.update()

    def encoder(self) -> Encoder:
        return self.teacher_backbone

    def measurements(self) -> dict[str, float]:
        """How many prototypes the teacher uses, and how sharp its assignments are (`Usage.measurements`)."""
        return self.usage.measurements()

    @torch.no_grad()
    def preview(self, images: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The crops, stretched to the image, and where the teacher's class token looks: mean over heads, 1 the most."""
        look = cls_attention(self.teacher_backbone, images).float().mean(dim=1, keepdim=True)
        look = functional.interpolate(look / look.amax(dim=(2, 3), keepdim=True), size=images.shape[-2:])
        return {"input": images} | self.crops.pictures(images, draws) | {"attention": look.expand_as(images)}


class Head(nn.Module):
    """Appendix C: a three-layer perceptron to a bottleneck of length 1, then prototypes of length 1 (weight norm)."""

    def __init__(self, features: int, width: int, bottleneck: int, prototypes: int, *, batch_norm: bool) -> None:
        super().__init__()
        sizes = (features, width, width, bottleneck)
        layers = [nn.Linear(*pair) for pair in pairwise(sizes)]
        for layer in layers:
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(BatchNorm(width) for _ in range(2)) if batch_norm else None
        self.prototypes = unit_rows(prototypes, bottleneck)

    def forward(self, vectors: Tensor, workers: int) -> Tensor:
        """[N, features] -> cosines with the prototypes, float [N, prototypes]; norms are over all workers' vectors."""
        for place, layer in enumerate(self.layers[:-1]):
            vectors = layer(vectors)
            vectors = functional.gelu(vectors if self.norms is None else self.norms[place](vectors, workers))
        narrow = functional.normalize(self.layers[-1](vectors).float(), dim=1)
        return narrow @ functional.normalize(self.prototypes, dim=1).T
