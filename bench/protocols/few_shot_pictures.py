"""What a few-shot episode looks like: support, query, truth, pseudo mask and prediction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from bench.data.episodes import Episodes, stack
from bench.data.raw import IGNORE
from bench.protocols.few_shot_data import PairData
from bench.protocols.few_shot_training import Trained, called, guess

COLORS = np.array([[1.0, 0.2, 0.1], [0.1, 0.6, 1.0], [1.0, 0.8, 0.0], [0.3, 0.9, 0.3], [0.8, 0.3, 0.9]], np.float32)
_VEIL = 0.6  # opacity of a mask over its image


@torch.no_grad()
def contact_sheet(trained: Trained, data: PairData, episodes: Episodes, numbers: Sequence[int]) -> np.ndarray:
    """Episodes as rows of pictures, uint8 [H_sheet, W_sheet, 3].

    Columns: the first support image of each way under the mask that was handed to the network; the query; its true
    mask; its pseudo mask, marked by the first way; the prediction. A way has one colour everywhere; ignored pixels
    are grey.
    """
    network = trained.network.eval()
    rows = []
    for number in numbers:
        episode = stack([episodes[number]])
        query, classes, support = int(episode.query[0]), episode.classes[0], episode.support[0, :, 0]
        masks = data.support_masks(support, classes).cpu().numpy()
        shown = [
            _under(data, int(image), np.where(mask, way, -1))
            for way, (image, mask) in enumerate(zip(support, masks, strict=True))
        ]
        pseudo = data.pseudo_masks(support[:1], episode.query)[0].cpu().numpy()
        guesses = guess(network, data, episode)
        predicted = called(guesses.masks, trained.thresholds.mask)[0].cpu().numpy()
        rest = (_truth(data.masks[query], classes), np.where(pseudo, 0, -1), predicted)
        rows.append(
            np.concatenate([*shown, _picture(data, query), *(_under(data, query, ways) for ways in rest)], axis=1)
        )
    return np.rint(np.concatenate(rows) * 255).astype(np.uint8)


def _truth(mask: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Way of each pixel, -1 for none and -2 for ignored ones, int64 [H, W]."""
    ways = np.full(mask.shape, -1)
    for way, label in enumerate(classes):
        ways[mask == label] = way
    return np.where(mask == IGNORE, -2, ways)


def _picture(data: PairData, image: int) -> np.ndarray:
    """An image in colours, float32 [H, W, 3] in [0, 1]."""
    pixels = np.asarray(data.tokens.images[image], np.float32) / 255
    return pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)


def _under(data: PairData, image: int, ways: np.ndarray) -> np.ndarray:
    """An image under the colours of its ways."""
    picture = _picture(data, image)
    colors = np.where((ways >= 0)[..., None], COLORS[ways % len(COLORS)], 0.5)
    return np.where((ways == -1)[..., None], picture, (1 - _VEIL) * picture + _VEIL * colors)
