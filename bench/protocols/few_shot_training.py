"""Training the classification-segmentation transformer on base classes, and asking it about episodes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench.data.episodes import Episode, Episodes, stack
from bench.protocols.cst import Cst
from bench.protocols.few_shot_data import EXCLUDED, PairData
from bench.protocols.few_shot_metrics import Answers, mean_iou
from bench.protocols.pseudo_masks import Enhancer, overlap_loss

PUBLISHED = 0.5
CANDIDATES = (0.3, 0.4, 0.5, 0.6, 0.7)
_PAIRS = 24  # of query and support image that are asked about at once


class Thresholds(NamedTuple):
    """Probabilities from which a class is called present, and a pixel part of one."""

    presence: float = PUBLISHED
    mask: float = PUBLISHED


@dataclass(frozen=True)
class Trained:
    """A trained network, and what was chosen on validation classes: after how many steps, at which thresholds."""

    network: Cst
    steps: int
    thresholds: Thresholds
    checkpoints: int


class Guesses(NamedTuple):
    """Probabilities: of presence [E, N], and of each pixel [E, N, H, W]."""

    presence: Tensor
    masks: Tensor


def train(data: PairData, episodes: Episodes, validation: Episodes, judge: PairData, seed: int) -> Trained:
    """Trains on 1-way 1-shot episodes; the checkpoint with the best validation mIoU is kept, the first of equals.

    Args:
        data: under the supervision of the base classes.
        episodes: of base classes.
        validation: of classes and images kept from training.
        judge: what checkpoints are scored against: the validation images under the same supervision.
        seed: of the initial weights.
    """
    options = data.options
    network = started(lambda: Cst(data.tokens.channels, data.tokens.grid, data.support_grid), seed, data)
    optimizer = torch.optim.Adam(network.parameters(), lr=options.lr, fused=True)
    best, kept, checkpoints = (-1.0, 0, Thresholds()), copy.deepcopy(network.state_dict()), 0
    for step in range(1, options.steps + 1):
        batch = range((step - 1) * options.batch_size, step * options.batch_size)
        optimizer.zero_grad(set_to_none=True)
        loss(network.train(), data, stack([episodes[number] for number in batch])).backward()
        optimizer.step()
        if step % options.validation_every == 0 or step == options.steps:
            checkpoints += 1
            score, thresholds = judged(network, judge, validation)
            if score > best[0]:
                best, kept = (score, step, thresholds), copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    return Trained(network.eval(), best[1], best[2], checkpoints)


def loss(network: Cst, data: PairData, episode: Episode) -> Tensor:
    """0.1 x cross-entropy of presence + cross-entropy of the mask over all pixels that count; 1-way, 1-shot."""
    query, labels, support = episode.query, episode.classes[:, 0], episode.support[:, 0, 0]
    presence, maps = network(data.correlation(query, support), data.support_masks(support, labels))
    present = torch.from_numpy(episode.present[:, 0]).to(presence.device).long()
    targets = data.targets(query, labels, support)
    logits = functional.interpolate(maps, data.size, mode="bilinear", align_corners=False)
    pixels = functional.cross_entropy(logits, targets, ignore_index=EXCLUDED, reduction="sum")
    mask_loss = pixels / (targets != EXCLUDED).sum().clamp_min(1)  # a batch may have no pixel that counts
    return data.options.classification_weight * functional.cross_entropy(presence, present) + mask_loss


def judged(network: Cst, data: PairData, episodes: Episodes) -> tuple[float, Thresholds]:
    """mIoU on validation episodes, at the best thresholds; ties to the ones nearest to the published."""
    numbers = range(data.options.validation_episodes)
    grid = CANDIDATES if data.options.thresholds == "selected" else (PUBLISHED,)
    tried: dict[float, list[Answers]] = {limit: [] for limit in grid}
    chances = []
    for episode, guesses in ask(network, data, episodes, numbers):
        chances.append(guesses.presence.cpu().numpy())
        targets = targets_of(data, episode)
        for limit, parts in tried.items():
            parts.append(answered(episode, guesses, targets, Thresholds(mask=limit)))
    answers = {limit: Answers.joined(parts) for limit, parts in tried.items()}
    miou = {limit: mean_iou(part.classes, part.intersection, part.union) for limit, part in answers.items()}
    present = answers[PUBLISHED].present
    exact = {limit: ((np.concatenate(chances) > limit) == present).all(1).mean() for limit in grid}
    chosen = Thresholds(*(max(grid, key=lambda x: (found[x], -abs(x - PUBLISHED))) for found in (exact, miou)))
    return miou[chosen.mask], chosen


def answers(trained: Trained, data: PairData, truth: PairData, episodes: Episodes, numbers: Sequence[int]) -> Answers:
    """What the trained network says of episodes, beside the truth."""
    return Answers.joined(
        [
            answered(episode, guesses, targets_of(truth, episode), trained.thresholds)
            for episode, guesses in ask(trained.network, data, episodes, numbers)
        ]
    )


@torch.no_grad()
def ask(network: Cst, data: PairData, episodes: Episodes, numbers: Sequence[int]) -> Iterator[tuple[Episode, Guesses]]:
    """Probabilities in these episodes, a few at a time; those of several shots are averaged."""
    network.eval()
    together = max(1, _PAIRS // (episodes.ways * episodes.shots))
    for first in range(0, len(numbers), together):
        episode = stack([episodes[number] for number in numbers[first : first + together]])
        yield episode, guess(network, data, episode)


def guess(network: Cst, data: PairData, episode: Episode) -> Guesses:
    """Probabilities in stacked episodes: every way by itself."""
    form = episode.support.shape
    query = np.broadcast_to(episode.query[:, None, None], form).reshape(-1)
    labels = np.broadcast_to(episode.classes[:, :, None], form).reshape(-1)
    support = episode.support.reshape(-1)
    presence, maps = network(data.correlation(query, support), data.support_masks(support, labels))
    maps = functional.interpolate(maps, data.size, mode="bilinear", align_corners=False).softmax(dim=1)[:, 1]
    return Guesses(presence.softmax(dim=1)[:, 1].unflatten(0, form).mean(dim=2), maps.unflatten(0, form).mean(dim=2))


def called(masks: Tensor, limit: float) -> Tensor:
    """Which way each pixel is called, int64 [E, H, W] of [E, N, H, W]: the likeliest, or -1 below the threshold."""
    chance, way = masks.max(dim=1)
    return way.masked_fill(chance < limit, -1)


def answered(episode: Episode, guesses: Guesses, targets: Tensor, thresholds: Thresholds) -> Answers:
    """Guesses against targets [E, N, H, W] of 1, 0 and EXCLUDED."""
    ways = torch.arange(targets.shape[1], device=targets.device)[:, None, None]
    counts, inside = targets != EXCLUDED, targets == 1
    claimed = (called(guesses.masks, thresholds.mask)[:, None] == ways) & counts
    parts = (claimed & inside, claimed | inside, inside, counts)
    pixels = [part.sum(dim=(2, 3)).cpu().numpy() for part in parts]
    presence = (guesses.presence > thresholds.presence).cpu().numpy()
    return Answers(episode.query, episode.classes, episode.present, presence, *pixels)


def targets_of(data: PairData, episode: Episode) -> Tensor:
    """What each way of stacked episodes should be called, int64 [E, N, H, W], as `PairData.targets`.

    The first support image marks the query, where that is asked for.
    """
    form = episode.classes.shape
    query = np.broadcast_to(episode.query[:, None], form).reshape(-1)
    first = episode.support[:, :, 0].reshape(-1)
    return data.targets(query, episode.classes.reshape(-1), first).unflatten(0, form)


def train_enhancer(data: PairData, known: np.ndarray, pool: np.ndarray, classes: Sequence[int], seed: int) -> PairData:
    """The data with an enhancer trained on the images whose masks are known.

    A step sees pairs of a known image and a class it shows, marked by its own class token or by that of another image
    with the class, evenly; Adam.

    Args:
        known: int64, images of the pool whose masks are known.
        pool: int64, training images.
        classes: that are trained on.
        seed: of the initial weights and of the pairs.
    """
    options = data.options
    pairs = [(image, label) for image in known for label in classes if data.histograms[image, label] > 0]
    showing = {label: pool[data.histograms[pool, label] > 0] for label in classes}
    enhancer = started(lambda: Enhancer(data.tokens.heads), seed, data)
    optimizer, numbers = torch.optim.Adam(enhancer.parameters(), lr=options.lr, fused=True), np.random.default_rng(seed)
    for _ in range(options.enhancer_steps):
        images, labels = np.array(pairs)[numbers.integers(len(pairs), size=options.batch_size)].T
        others = np.array([numbers.choice(showing[label]) for label in labels])
        marker = np.where(numbers.random(len(images)) < 0.5, images, others)
        inside, void = data.true_masks(images, labels)
        logits = enhancer.logits(data.similarities(marker, images), data.size)
        optimizer.zero_grad(set_to_none=True)
        overlap_loss(logits, inside, ~void).backward()
        optimizer.step()
    return replace(data, enhancer=enhancer.eval().requires_grad_(False))


def started(build, seed: int, data: PairData):
    """A network with the initial weights of this seed, on the device of the tokens."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().to(data.tokens.device)
