"""Few-shot classification and segmentation: base classes teach, episodes of novel classes test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import cast

import numpy as np

from bench.data.blocks import image_blocks
from bench.data.episodes import Episodes
from bench.data.splits import shuffled
from bench.errors import UserError
from bench.protocols.base import Cell, Evaluation, Score
from bench.protocols.few_shot_data import PairData
from bench.protocols.few_shot_metrics import Answers, intervals, left_out, scores
from bench.protocols.few_shot_pictures import contact_sheet
from bench.protocols.few_shot_training import Trained, answers, train, train_enhancer
from bench.protocols.tokens import TokenStore
from bench.seeds import named_seed
from bench.store.datasets import GENERATED
from bench.study.few_shot_fits import check_class
from bench.study.protocols import FewShotOptions
from bench.study.protocols.few_shot import Fold

PICTURED = 6  # episodes of a picture


def run(evaluation: Evaluation) -> list[Score]:
    """Scores of every cell, in the order of the cells.

    Raises:
        UserError: before anything is trained: masks or folds are lacking, a class has fewer images than shots, or the
            encoder has no patch tokens.
    """
    judge = FewShot(evaluation)
    found: dict[Cell, Score] = {}
    for draw in dict.fromkeys(cell.draw for cell in evaluation.cells):
        learners = [(fold, *judge.learn(number, fold, draw)) for number, fold in judge.folds.items()]
        for cell in evaluation.cells:
            if cell.draw == draw:
                found[cell] = judge.score(cell, learners)
    return [found[cell] for cell in evaluation.cells]


class FewShot:
    """One encoder's images and tokens, shared by all folds and draws.

    Attributes:
        folds: by number.
        data: everything known.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.options = cast(FewShotOptions, evaluation.options)
        self.evaluation, self.splits = evaluation, evaluation.dataset.splits
        self.images = evaluation.dataset.images
        name, names = evaluation.dataset.name, self.images.class_names
        if self.images.masks is None:
            raise UserError(f"few_shot: data set {name!r} has no masks; valid: a data set with a class for every pixel")
        folds = self.options.class_folds(name, names)
        self.folds = dict(zip(self.options.fold_numbers(name), folds, strict=True))
        shots = max(int(cell.label_budget) for cell in evaluation.cells)
        for number, fold in self.folds.items():
            for label in fold.novel:
                check_class(names[label], self._shown(self.splits.test)[label], shots)
            for draw in {cell.draw for cell in evaluation.cells}:
                self.parted(number, fold, draw)

    @cached_property
    def data(self) -> PairData:
        """Every image of the splits, all masks known."""
        used = np.concatenate([self.splits.train, self.splits.validation, self.splits.test])
        options, evaluation = self.options, self.evaluation
        images, blocks = self.images.images, options.pseudo_layers
        tokens = TokenStore(evaluation.encoder(), images, used, blocks, options.cache_gb, evaluation.device)
        known = np.ones(len(images), bool)
        return PairData(tokens, self.images.masks, self.images.histograms, known, options)

    def parted(self, number: int, fold: Fold, draw: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The base classes that are trained on, and those kept for validation, drawn among the ones that some but not
        all validation images show.

        Raises:
            UserError: there are too few of either.
        """
        names = self.images.class_names
        shown, taught = self._shown(self.splits.validation), self._shown(self.splits.train)
        candidates = [label for label in fold.base if 2 <= shown[label] < len(self.splits.validation)]
        wanted = self.options.validation_classes
        if len(candidates) < wanted:
            able = ", ".join(names[label] for label in candidates) or "none"
            raise UserError(
                f"few_shot.validation_classes: {wanted}, but of the base classes only {able} can be present and absent "
                "among the validation images; take fewer, or raise data.validation"
            )
        order = shuffled(np.array(candidates), self.splits.digest, "validation classes", number, draw)
        kept = tuple(sorted(int(label) for label in order[:wanted]))
        trained = tuple(label for label in fold.base if label not in kept and taught[label] >= 2)
        if len(trained) < 2:
            raise UserError(f"few_shot.folds: fold {number} leaves fewer than 2 base classes that train images show")
        return trained, kept

    def learn(self, number: int, fold: Fold, draw: int) -> tuple[Trained, PairData, int]:
        """A training: the network, what its tests see, and how many masks it saw."""
        digest, seed = self.splits.digest, named_seed(self.evaluation.seed, "cst", number, draw)
        classes, kept = self.parted(number, fold, draw)
        pool = self.splits.train
        masks = self._with_masks(classes, draw)
        known = np.zeros(len(self.images.labels), bool)
        known[masks] = True
        if self.options.supervision == "pixel":
            known[:] = True
        data = replace(self.data, known=known, hidden=(*fold.novel, *kept))
        if self.options.supervision == "mixed":
            data = train_enhancer(data, masks, pool, classes, named_seed(seed, "enhancer"))
        form = {"histograms": self.images.histograms, "ways": 1, "shots": 1}
        episodes = Episodes(pool=pool, classes=classes, names=(digest, "train", number, draw), **form)
        held = Episodes(pool=self.splits.validation, classes=kept, names=(digest, "validation", number, draw), **form)
        trained = train(data, episodes, held, replace(data, hidden=fold.novel), seed)
        return trained, replace(data, hidden=()), len(masks)

    def score(self, cell: Cell, learners: Sequence[tuple[Fold, Trained, PairData, int]]) -> Score:
        """The mean over the folds, each tested on the same episodes whatever was trained."""
        found = [self.tested(cell, number, *learner[:3]) for number, learner in zip(self.folds, learners, strict=True)]
        parts = [scores(answers) for answers in found]
        means = {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}
        metrics = {name: means.pop(name) for name in ("exact_ratio", "miou")}
        by_fold = {
            f"{name}_fold{number}": part[name]
            for number, part in zip(self.folds, parts, strict=True)
            for name in ("exact_ratio", "miou")
        }
        networks = [trained for _, trained, _, _ in learners]
        enhancer = learners[0][2].enhancer
        weights = [*networks[0].network.parameters(), *(enhancer.parameters() if enhancer is not None else ())]
        return Score(
            cell=cell,
            n_labels=self.options.ways * int(cell.label_budget),
            metrics=metrics,
            class_counts=None,
            class_correct=None,
            correct=None,
            selected=self._selected(networks),
            n_candidates=networks[0].checkpoints,
            n_selection_labels=len(self.splits.validation),
            selection="held_out",
            pictures=self.pictures(cell, learners),
            extra={
                "bytes_added": 4 * sum(weight.numel() for weight in weights),
                "n_test": self.options.test_episodes * len(found),
                "training_masks": float(np.mean([masks for *_, masks in learners])),
                **means,
                **intervals(found, named_seed(self.splits.digest, "bootstrap", cell.label_budget)),
                "item_jackknife": left_out(found, image_blocks(self.splits)),
                **(by_fold if len(found) > 1 else {}),
            },
        )

    def pictures(self, cell: Cell, learners: Sequence[tuple[Fold, Trained, PairData, int]]) -> dict[str, np.ndarray]:
        """Test episodes of the first fold at the fewest shots, as they come; of generated images alone."""
        options = self.options
        if self.evaluation.dataset.name not in GENERATED or (cell.draw, cell.label_budget) != (
            0,
            options.label_budgets[0],
        ):
            return {}
        (number, *_), (fold, trained, data, _) = list(self.folds), learners[0]
        share = f" {options.mask_share:g}" if options.supervision == "mixed" else ""
        name = f"{options.ways}-way {cell.label_budget}-shot episodes of fold {number}, {options.supervision}{share}"
        episodes = self.test_episodes(number, fold, int(cell.label_budget))
        return {name: contact_sheet(trained, data, episodes, range(min(PICTURED, options.test_episodes)))}

    def tested(self, cell: Cell, number: int, fold: Fold, trained: Trained, data: PairData) -> Answers:
        """Answers in the test episodes of a fold."""
        episodes = self.test_episodes(number, fold, int(cell.label_budget))
        return answers(trained, data, data.with_all_masks(), episodes, range(self.options.test_episodes))

    def test_episodes(self, number: int, fold: Fold, shots: int) -> Episodes:
        """The same for every entrant, supervision and draw."""
        names = (self.splits.digest, "test", number)
        return Episodes(self.images.histograms, self.splits.test, fold.novel, self.options.ways, shots, names)

    def _with_masks(self, classes: Sequence[int], draw: int) -> np.ndarray:
        """Training images with a base class whose masks are known; a smaller share is part of a larger one."""
        pool = self.splits.train
        useful = pool[(self.images.histograms[pool][:, list(classes)] > 0).any(1)]
        share = cast(float, self.options.mask_share)
        count = max(1, round(share * len(useful))) if share else 0
        return shuffled(useful, self.splits.digest, "masks", draw)[:count]

    def _selected(self, networks: Sequence[Trained]) -> dict[str, float]:
        """What was chosen, by fold where there are several."""
        chosen: dict[str, float] = {}
        for number, trained in zip(self.folds, networks, strict=True):
            mark = f"_fold{number}" if len(self.folds) > 1 else ""
            chosen[f"steps{mark}"] = trained.steps
            chosen |= {f"{name}{mark}": value for name, value in trained.thresholds._asdict().items()}
        return chosen

    def _shown(self, images: np.ndarray) -> np.ndarray:
        """How many of these images show each class, int64 [classes]."""
        return (self.images.histograms[images] > 0).sum(0)
