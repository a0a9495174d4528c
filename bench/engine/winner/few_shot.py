"""Few-shot networks taken home: trained once more, compared with their row, presence calibrated, written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.data.batches import to_float
from bench.data.catalog import Dataset
from bench.data.episodes import Episode, Episodes, stack
from bench.engine.winner.calibration import calibration_error, fit_temperature
from bench.engine.winner.candidate import Candidate, Home, Task, write_encoder
from bench.engine.winner.card import input_of
from bench.engine.winner.chips import cut_of
from bench.engine.winner.few_shot_model import PAIRS, FewShotModel, Settings, load_few_shot, logits, save_few_shot
from bench.engine.winner.few_shot_program import write_onnx, write_program
from bench.protocols.base import Cell, Evaluation, Score
from bench.protocols.few_shot import FewShot
from bench.protocols.few_shot_data import PairData
from bench.protocols.few_shot_metrics import Answers, scores
from bench.protocols.few_shot_training import Guesses, Trained, answered, answers, targets_of
from bench.protocols.pseudo_masks import Enhancer
from bench.protocols.tokens import TokenStore
from bench.study.protocols import FewShotOptions
from bench.study.protocols.few_shot import Fold

NAME = "few_shot"
CHECKED = 8  # queries on which ONNX is compared with PyTorch
METRICS = ("exact_ratio", "miou")
_TOLD = (
    *("exact_ratio_low", "exact_ratio_high", "miou_low", "miou_high"),
    *("exact_ratio_all_absent", "exact_ratio_all_present", "miou_all_foreground"),
)
COLDEST = 0.1  # temperature of presence: episodes without a mistake ask for 0, where thresholds round to 1


class Learned(NamedTuple):
    """What was learned from the base classes of one fold.

    Attributes:
        number: of the fold.
        trained: the network, on the CPU, with its thresholds.
        enhancer: makes the masks of a support under mixed supervision.
        classes: that it was trained on.
        held: episodes of the validation classes, of as many shots as the row's where they have the images.
        tests: the test episodes.
        validated: answers in the validation episodes that checkpoints were judged on.
        tested: answers in the test episodes.
    """

    number: int
    trained: Trained
    enhancer: Enhancer | None
    classes: tuple[int, ...]
    held: Episodes
    tests: Episodes
    validated: Answers
    tested: Answers


class Retrained(NamedTuple):
    """The networks of every fold, and how they read images."""

    folds: tuple[Learned, ...]
    settings: Settings
    options: FewShotOptions


class _Keeping(FewShot):
    """Keeps what it answered in the test episodes of each fold."""

    def __init__(self, evaluation: Evaluation) -> None:
        super().__init__(evaluation)
        self.kept: dict[int, Answers] = {}

    def tested(self, cell: Cell, number: int, fold: Fold, trained: Trained, data: PairData) -> Answers:
        self.kept[number] = super().tested(cell, number, fold, trained, data)
        return self.kept[number]


def again(evaluation: Evaluation) -> tuple[Retrained, Score]:
    """The networks of the one cell asked for, trained once more on the base classes."""
    judge, (cell,) = _Keeping(evaluation), evaluation.cells
    learners = [(fold, *judge.learn(number, fold, cell.draw)) for number, fold in judge.folds.items()]
    score = judge.score(cell, learners)
    folds = [
        _learned(judge, cell, number, fold, trained, data)
        for number, (fold, trained, data, _) in zip(judge.folds, learners, strict=True)
    ]
    return Retrained(tuple(folds), _settings(judge), judge.options), score


def _learned(judge: _Keeping, cell: Cell, number: int, fold: Fold, trained: Trained, data: PairData) -> Learned:
    classes, kept = judge.parted(number, fold, cell.draw)
    splits, options, shots = judge.splits, judge.options, int(cell.label_budget)
    fewest = int((judge.images.histograms[splits.validation][:, list(kept)] > 0).sum(0).min())
    names = (splits.digest, "validation", number, cell.draw)
    held = [
        Episodes(judge.images.histograms, splits.validation, kept, 1, count, names)
        for count in (1, min(shots, fewest - 1))
    ]
    seen = replace(data, hidden=fold.novel)
    validated = answers(trained, seen, seen, held[0], range(options.validation_episodes))
    tests = judge.test_episodes(number, fold, shots)
    trained.network.cpu().requires_grad_(False)
    enhancer = None if data.enhancer is None else data.enhancer.cpu()
    return Learned(number, trained, enhancer, classes, held[1], tests, validated, judge.kept[number])


def _settings(judge: FewShot) -> Settings:
    tokens, options = judge.data.tokens, judge.options
    return Settings(
        channels=tokens.channels,
        grid=tokens.grid,
        support_grid=judge.data.support_grid,
        heads=tokens.heads,
        supervision=options.supervision,
        attention=options.pseudo_layers,
        similarity=options.pseudo_similarity,
        threshold=options.pseudo_threshold,
        smoothing=options.pseudo_smoothing,
    )


def quality(evaluation: Evaluation, made: Retrained, metric: str) -> float:
    """A metric in the validation episodes, the mean over the folds: base classes that were kept from training."""
    return float(np.mean([scores(learned.validated)[metric] for learned in made.folds]))


def mismatch(row: Mapping[str, Any], score: Score) -> str | None:
    """How the scores, those without some query images in turn and the thresholds differ from the row's; None: not."""
    kept, found = json.loads(row["details"]), json.loads(json.dumps(dict(score.extra)))
    same = (
        all(found[name] == kept[name] for name in found if name in kept)
        and all(score.metrics[name] == row[name] for name in METRICS)
        and dict(score.selected) == json.loads(row["selected"])
    )
    if same:
        return None
    here, there = score.metrics, row
    return (
        f"the network trained again answers the test episodes otherwise than row {row['row_key']} says (exact ratio "
        f"{here['exact_ratio']:.4f}, there {there['exact_ratio']:.4f}; mIoU {here['miou']:.4f}, there "
        f"{there['miou']:.4f})"
    )


def write(home: Home, chosen: Candidate[Retrained]) -> dict[str, Any]:
    """Encoder, head and program of the fold that is best on its validation episodes; returns what the card says."""
    folder, dataset, made = home.folder, home.dataset, chosen.refit
    learned = max(made.folds, key=lambda one: scores(one.validated)["miou"])
    encoder = write_encoder(folder, chosen.folder, None)
    save_few_shot(learned.trained.network, learned.enhancer, folder)
    model = load_few_shot(encoder, made.settings, folder)
    model.thresholds = learned.trained.thresholds
    truth = _truth(model, dataset, made.options)
    calibration, exported = _checked(model, truth, learned, made.options)
    names = dataset.images.class_names
    inputs = _inputs(model, truth, learned.tests)
    untraced = write_program(model, folder)
    return {
        "head": made.settings.card(),
        "classes": [names[label] for label in learned.classes],
        "novel": [names[label] for label in learned.tests.classes],
        "fold": {"number": learned.number, "of": len(made.folds)},
        "ways": made.options.ways,
        "input": input_of(dataset, home.spec) | {"cut": cut_of(dataset, home.spec)},
        "temperature": model.temperature,
        "thresholds": model.thresholds._asdict(),
        "calibration": calibration | {"n_images": len(dataset.splits.validation)},
        "exported": exported,
        "details": {name: chosen.score.extra[name] for name in _TOLD},
        "program": untraced or "ok",
        "onnx": write_onnx(model, folder, inputs) if home.onnx else None,
    }


TASK = Task(NAME, again, quality, mismatch, write)


def _truth(model: FewShotModel, dataset: Dataset, options: FewShotOptions) -> PairData:
    """Images as the files' encoder sees them, every mask known: what the network as written is scored against."""
    images, splits = dataset.images, dataset.splits
    used = np.concatenate([splits.validation, splits.test])
    tokens = TokenStore(model.encoder, images.images, used, model.settings.attention, options.cache_gb, "cpu")
    return PairData(tokens, images.masks, images.histograms, np.ones(len(images.images), bool), options)


def _checked(
    model: FewShotModel, truth: PairData, learned: Learned, options: FewShotOptions
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sets the temperature of presence on validation episodes; what that did, and how the network as written scores."""
    found, test = _asked(model, truth, learned.tests, options.test_episodes)
    kept = learned.tested
    same = (found.claimed == kept.claimed) & (found.intersection == kept.intersection) & (found.union == kept.union)
    part = scores(found)
    exported = {**{name: part[name] for name in METRICS}, "differing": int((~same).any(1).sum())}
    validated, known = _asked(model, truth, learned.held, options.validation_episodes)
    labels = [torch.from_numpy(answers.present.reshape(-1)).long() for answers in (validated, found)]
    before = calibration_error(_two(test), labels[1])
    model.temperature = max(COLDEST, fit_temperature(_two(known), labels[0]))
    model.thresholds = model.thresholds._replace(presence=_moved(model))
    after = calibration_error(_two(test) / model.temperature, labels[1])
    counts = {"n_labels": len(labels[0]), "n_test": len(labels[1]), "shots": learned.held.shots}
    calibration = {"labels": "validation episodes of base classes kept from training", **counts}
    return calibration | {"ece": after, "ece_before": before}, exported


def _moved(model: FewShotModel) -> float:
    """The threshold of presence where the temperature moves it to, so that every answer stays what it was."""
    return float(model.calibrated(torch.tensor(model.thresholds.presence, dtype=torch.float64)))


def _two(presence: Tensor) -> Tensor:
    """Logits [n, 2] of probabilities of presence [E, N]: absent first."""
    values = logits(presence.double()).flatten()
    return torch.stack([torch.zeros_like(values), values], 1)


@torch.inference_mode()
def _asked(model: FewShotModel, truth: PairData, episodes: Episodes, count: int) -> tuple[Answers, Tensor]:
    """Answers of the network as written in the first episodes, and its probabilities of presence [E, N]."""
    together = max(1, PAIRS // (episodes.ways * episodes.shots))
    found, presence = [], []
    for first in range(0, count, together):
        episode = stack([episodes[number] for number in range(first, min(first + together, count))])
        guesses = _guesses(model, truth, episode)
        presence.append(guesses.presence)
        found.append(answered(episode, guesses, targets_of(truth, episode), model.thresholds))
    return Answers.joined(found), torch.cat(presence)


def _guesses(model: FewShotModel, truth: PairData, episode: Episode) -> Guesses:
    form = episode.support.shape
    query = np.broadcast_to(episode.query[:, None, None], form).reshape(-1)
    labels = np.broadcast_to(episode.classes[:, :, None], form).reshape(-1)
    images = episode.support.reshape(-1)
    masks = truth.support_masks(images, labels) if model.reads_masks else None
    support = model.support(truth.tokens(images), masks)
    found = model.pairs(truth.tokens(query).blocks[:, :, 1:], support)
    return Guesses(*(values.unflatten(0, form).mean(dim=2) for values in found))


def _inputs(model: FewShotModel, truth: PairData, tests: Episodes) -> tuple[Tensor, ...]:
    """Queries of the first test episodes and the support of the first, as the network as a program takes them."""
    episode, stored = tests[0], truth.tokens.images
    queries = np.array([tests[number].query for number in range(CHECKED)])
    support = to_float(stored[episode.support.reshape(-1)]).unflatten(0, episode.support.shape)
    if not model.reads_masks:
        return to_float(stored[queries]), support
    labels = np.broadcast_to(episode.classes[:, None], episode.support.shape).reshape(-1)
    masks = truth.support_masks(episode.support.reshape(-1), labels)
    return to_float(stored[queries]), support, masks.unflatten(0, episode.support.shape)
