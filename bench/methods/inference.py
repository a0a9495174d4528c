"""What an encoder costs where it is used: arithmetic for one image, and images a second, measured."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from bench.methods.feature_maps import Encoder
from bench.methods.flops import encoder_flops

BATCH = 64
REPEATS = 5
SECONDS = 0.3  # that a measurement may take, about


class Inference(NamedTuple):
    """Of one encoder as far as a layer needs it: FLOPs for an image, and images a second where it runs."""

    flops: float | None
    per_second: float | None


def inference(encoder: Encoder, layer: str = "last") -> Inference:
    """The cost of an encoder in evaluation mode, where it is (see `encoder_flops` and `images_per_second`)."""
    return Inference(encoder_flops(encoder, layer), images_per_second(encoder, layer))


def layer_costs(encoder: Encoder, layers: Iterable[str]) -> dict[str, Inference]:
    """The cost as far as each layer, by the name that was asked for; one that goes by two names is measured once."""
    names = {layer: encoder.resolve(layer) for layer in layers}
    costs = {name: inference(encoder, name) for name in dict.fromkeys(names.values())}
    return {layer: costs[name] for layer, name in names.items()}


def together(costs: Sequence[Inference]) -> Inference:
    """The cost of several encoders that each image runs through; unknown where one of them is."""
    flops = [cost.flops for cost in costs if cost.flops is not None]
    seconds = [1 / cost.per_second for cost in costs if cost.per_second is not None]
    return Inference(
        sum(flops) if len(flops) == len(costs) else None, 1 / sum(seconds) if len(seconds) == len(costs) else None
    )


@torch.no_grad()
def images_per_second(encoder: Encoder, layer: str = "last") -> float:
    """Images a second in batches of 64, median of up to 5 repeats; in smaller batches where 64 images take too long.

    The images are noise: no encoder is quicker on others. The encoder should be in evaluation mode.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((BATCH, *encoder.shape), generator=generator).to(encoder.device)
    _seconds(encoder, images[:1], layer)  # the first call of all prepares much
    one = _seconds(encoder, images[:1], layer)
    batch = images[: max(1, min(BATCH, int(SECONDS / REPEATS / one)))]
    times = [_seconds(encoder, batch, layer)]
    while len(times) < REPEATS and sum(times) + times[-1] < SECONDS:
        times.append(_seconds(encoder, batch, layer))
    return len(batch) / median(times)


def _seconds(encoder: Encoder, images: Tensor, layer: str) -> float:
    began = time.perf_counter()
    encoder.embed(images, [layer])
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
    return time.perf_counter() - began
