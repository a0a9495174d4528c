"""One segmentation training: a copy of the encoder under a new decoder, trained on the masks of some images."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bench.data.batches import to_float
from bench.data.catalog import Dataset
from bench.data.draws import Draws
from bench.methods.encoder import Encoder
from bench.protocols.batches import batch_places, step_count
from bench.protocols.decoders import Segmenter, Statistics
from bench.protocols.dense_loss import dense_loss
from bench.protocols.dense_scoring import batches, masks_of
from bench.protocols.frozen_blocks import freeze_first
from bench.protocols.pyramid import Level, pyramid
from bench.seeds import named_seed
from bench.study.protocols import SegmentationOptions
from bench.training.optim import set_lr

STATISTICS_IMAGES = 256
BANK_BYTES = 512 * 2**20  # maps of a frozen encoder that are kept while a decoder trains
DESCENT, FLOOR = 0.8, 0.02  # share of the steps in which the rate falls, and where it stays (40 of 50 epochs; 1e-5)
_VIEWS = tuple(range(8))  # turn by a quarter as often as view % 4 says, then mirror the last four
_VIEWS_OF_OBLONG = (0, 2, 4, 6)


class DenseRecipe:
    """What every training of an evaluation shares: images, masks, options, and the encoder they all start from."""

    def __init__(
        self,
        dataset: Dataset,
        encoder: Encoder,
        options: SegmentationOptions,
        table: np.ndarray,
        n_classes: int,
        device: str,
    ) -> None:
        """Looks at the encoder once.

        Args:
            dataset: with masks.
            encoder: it is copied, never changed.
            options: the recipe.
            table: uint8 [256], the class that each value of a mask stands for.
            n_classes: K.
            device: "cpu" or "cuda".

        Raises:
            UserError: the encoder has no maps.
        """
        self.images, self.masks = dataset.images.images, masks_of(dataset.images)
        self.options, self.table, self.n_classes, self.device = options, table, n_classes, device
        self.encoder = copy.deepcopy(encoder).to(device).eval().requires_grad_(False)
        self.levels = pyramid(encoder, options.decoder)
        self.statistics = _statistics(self.encoder, self.levels, self.images, dataset.splits.train, device)
        square = dataset.shape.height == dataset.shape.width
        turned = options.augmentation == "flip_rotate"
        self.views = (0,) if not turned else _VIEWS if square else _VIEWS_OF_OBLONG

    def train(self, indices: np.ndarray, lr: float, *names: object) -> Segmenter:
        """A network trained on some images, in evaluation mode.

        Args:
            indices: int64 [n], numbers of the images.
            lr: peak learning rate.
            names: every random number is named by these alone.
        """
        options = self.options
        shown = np.repeat(indices, 2) if len(indices) == 1 else indices  # batch norms need two
        steps = step_count(len(shown), min(options.batch_size, len(shown)), options.epochs, options.steps)
        with torch.random.fork_rng(devices=[] if self.device == "cpu" else [torch.cuda.current_device()]):
            torch.manual_seed(named_seed(*names, "network"))  # initial weights and dropout: the global generator's
            network = self._start()
            source = Source(self, network, shown, steps)
            optimizer = torch.optim.Adam(network.parameters(), lr=lr)
            places = batch_places(np.zeros(len(shown), np.int64), 1, options.batch_size, steps, "none", *names)
            for step, batch in enumerate(places):
                if step == self._unfreezes(len(shown)):
                    _release(network, options.frozen_blocks)
                set_lr(optimizer, lr * schedule(step, steps))
                logits, target = source.batch(batch, named_seed(*names, "step", step))
                optimizer.zero_grad(set_to_none=True)
                dense_loss(logits, target, options.loss).backward()
                optimizer.step()
        return network.eval()

    @property
    def frozen(self) -> bool:
        """Whether the encoder stays as it is to the end."""
        return self.options.encoder_state == "frozen" and self.options.unfreeze_at is None

    def _unfreezes(self, count: int) -> int | None:
        """The step from which the encoder trains, None for never."""
        if self.frozen:
            return None
        return (self.options.unfreeze_at or 0) * (count // min(self.options.batch_size, count))

    def _start(self) -> Segmenter:
        """The untrained network in training mode, its encoder frozen."""
        encoder, options = copy.deepcopy(self.encoder), self.options
        network = Segmenter(encoder, self.levels, self.statistics, options.decoder, options.width, self.n_classes)
        return network.to(self.device).train()


class Source:
    """Batches of one training, through the network. The maps of a frozen encoder are computed once where they fit."""

    def __init__(self, recipe: DenseRecipe, network: Segmenter, indices: np.ndarray, steps: int) -> None:
        self.network, self.views, self.device = network, recipe.views, recipe.device
        self.images = torch.from_numpy(np.array(recipe.images[indices]))
        self.masks = torch.from_numpy(recipe.table[recipe.masks[indices]])
        self.size = (self.images.shape[1], self.images.shape[2])
        self.bank: list[Tensor] | None = None
        shown = len(indices) * len(self.views)
        if recipe.frozen and shown <= steps * min(len(indices), recipe.options.batch_size):
            self.bank = self._bank(shown)

    def batch(self, places: np.ndarray, seed: int) -> tuple[Tensor, Tensor]:
        """Logits float [n, K, H, W] and targets int64 [n, H, W] of images at these places, each in a random view."""
        drawn = Draws(seed, len(places)).uniform()
        chosen = (drawn * len(self.views)).long().clamp_max(len(self.views) - 1)
        views = [self.views[number] for number in chosen.tolist()]
        target = torch.stack([turned(self.masks[place], view) for place, view in zip(places, views, strict=True)])
        if self.bank is None:
            logits = self.network(self._images(places, views))
        else:
            rows = torch.from_numpy(places) * len(self.views) + chosen
            logits = self.network.decode([maps[rows.to(self.device)] for maps in self.bank], self.size)
        return logits, target.long().to(self.device)

    def _images(self, places: Sequence[int] | np.ndarray, views: Sequence[int]) -> Tensor:
        return to_float(
            torch.stack([turned(self.images[place], view, (0, 1)) for place, view in zip(places, views, strict=True)]),
            self.device,
        )

    @torch.no_grad()
    def _bank(self, shown: int) -> list[Tensor] | None:
        """Maps of every image in every view, [images x views, C, h, w] a level; None where they are too large."""
        first = self.network.maps(self._images([0], [self.views[0]]))
        if shown * sum(maps[0].numel() for maps in first) * 4 > BANK_BYTES:
            return None
        parts = [
            self.network.maps(
                self._images(rows // len(self.views), [self.views[row % len(self.views)] for row in rows])
            )
            for rows in batches(np.arange(shown))
        ]
        return [torch.cat(level) for level in zip(*parts, strict=True)]


def turned(picture: Tensor, view: int, axes: tuple[int, int] = (-2, -1)) -> Tensor:
    """A picture turned by view % 4 quarters in the plane of two axes, and mirrored from view 4 on."""
    rotated = torch.rot90(picture, view % 4, axes)
    return rotated.flip(axes[1]) if view >= 4 else rotated


def schedule(step: int, steps: int) -> float:
    """The learning rate of a step as a share of the peak: half a cosine down to 2 % in 80 % of the steps, then flat."""
    done = min(1.0, step / (DESCENT * steps))
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * done))


def _release(network: Segmenter, frozen_blocks: int | None) -> None:
    """From here on the encoder trains, batch statistics included; all of it but its first blocks."""
    network.encoder.requires_grad_(True)
    network.encoder_trains = True
    network.train()
    if frozen_blocks is not None:
        freeze_first(network.encoder, frozen_blocks)


@torch.no_grad()
def _statistics(
    encoder: Encoder, levels: Sequence[Level], images: np.ndarray, pool: np.ndarray, device: str
) -> Statistics:
    """Mean and standard deviation, [1, C, 1, 1] each, of the maps of each level over images of the train pool."""
    chosen = pool[:: max(1, len(pool) // STATISTICS_IMAGES)][:STATISTICS_IMAGES]
    layers = list(dict.fromkeys(level.layer for level in levels))
    sums = {layer: [0, 0.0, 0.0] for layer in layers}
    for batch in batches(chosen):
        for layer, maps in encoder.forward_layers(to_float(images[batch], device), layers).items():
            values = maps.double()
            total = sums[layer]
            total[0] += values.numel() // values.shape[1]
            total[1] = total[1] + values.sum((0, 2, 3), keepdim=True)
            total[2] = total[2] + values.square().sum((0, 2, 3), keepdim=True)
    found = {}
    for layer, (count, total, squares) in sums.items():
        mean = total / count
        std = (squares / count - mean**2).clamp_min(0).sqrt()
        found[layer] = mean.float(), torch.where(std > 1e-6, std, 1.0).float()
    return [found[level.layer] for level in levels]
