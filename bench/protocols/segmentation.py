"""Segmentation: a decoder on the encoder's maps, trained on the masks of the budget's images, once per draw."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch

from bench.data.batches import to_float
from bench.data.blocks import image_blocks
from bench.data.catalog import Dataset
from bench.data.dense_draws import dense_budget, strata
from bench.errors import UserError
from bench.methods.encoder import Encoder
from bench.protocols.base import Cell, Evaluation, Score
from bench.protocols.decoders import Segmenter
from bench.protocols.dense_metrics import DenseCounts, mean
from bench.protocols.dense_scoring import class_table, count_details, score_maps
from bench.protocols.dense_training import DenseRecipe
from bench.protocols.partial import shipped_bytes
from bench.protocols.selection import choose, fold_count, resolve, stratified_folds
from bench.study.protocols import SegmentationOptions, Selection

JUDGE = SegmentationOptions(steps=100, epochs=0, lr=2e-3)  # of a search: a decoder on the frozen encoder, briefly


def run(evaluation: Evaluation) -> list[Score]:
    """Scores of every cell, in the order of the cells."""
    options = cast(SegmentationOptions, evaluation.options)
    trainer = DenseTrainer(evaluation.dataset, evaluation.encoder(), options, evaluation.seed, evaluation.device)
    return [trainer.score(cell) for cell in evaluation.cells]


def validation_miou(dataset: Dataset, encoder: Encoder, label_budget: str, draw: int, device: str = "cpu") -> float:
    """mIoU on the validation images under the options of JUDGE: what a search may maximise."""
    trainer = DenseTrainer(dataset, encoder, JUDGE, 0, device)
    cell = Cell(label_budget, draw, "last", None)
    network = trainer.train(cell, dense_budget(dataset.images, dataset.splits, label_budget, draw), trainer.options.lr)
    return mean(trainer.counts(network, dataset.splits.validation).class_iou)


class DenseTrainer:
    """Everything the cells share: the encoder they start from, images and masks, what the classes stand for."""

    def __init__(
        self, dataset: Dataset, encoder: Encoder, options: SegmentationOptions, seed: int, device: str
    ) -> None:
        self.dataset, self.options, self.seed, self.device = dataset, options, seed, device
        self.class_names, targets = options.targets(dataset.splits.class_names)
        self.table = class_table(targets)
        self._check_test_pixels()
        self.recipe = DenseRecipe(dataset, encoder, options, self.table, len(self.class_names), device)

    def score(self, cell: Cell) -> Score:
        """Selects the learning rate, trains on the budget, and scores the result on every test pixel."""
        images, splits = self.dataset.images, self.dataset.splits
        indices = dense_budget(images, splits, cell.label_budget, cell.draw)
        candidates = self.options.candidates()
        selection = resolve(self.options.selection, len(indices), len(candidates))
        lr, outside = self._select(selection, cell, indices)
        network = self.train(cell, indices, lr)
        counts = self.counts(network, splits.test, image_blocks(splits))
        return Score(
            cell=cell,
            n_labels=len(indices),
            metrics=counts.metrics(),
            class_counts=None,
            class_correct=None,
            correct=None,
            selected={"lr": lr},
            n_candidates=1 if selection == "fixed" else len(candidates),
            n_selection_labels=outside,
            selection=selection,
            extra={
                "n_test": len(splits.test),
                "bytes_added": shipped_bytes(network),
                **count_details(counts, self.class_names),
            },
        )

    def train(self, cell: Cell, indices: np.ndarray, lr: float) -> Segmenter:
        """A network trained from the encoder as it was handed in; the path depends on the cell's name alone."""
        return self.recipe.train(indices, lr, self.seed, "segmentation", cell.label_budget, cell.draw)

    def counts(self, network: Segmenter, indices: np.ndarray, blocks: np.ndarray | None = None) -> DenseCounts:
        """Counts over every pixel of these images, by block too where blocks are given."""

        @torch.no_grad()
        def predict(batch: np.ndarray) -> np.ndarray:
            images = to_float(self.dataset.images.images[batch], self.device)
            return torch.softmax(network(images), 1).cpu().numpy()

        return score_maps(predict, self.dataset.images, indices, self.table, len(self.class_names), blocks)

    def _select(self, selection: Selection, cell: Cell, indices: np.ndarray) -> tuple[float, int]:
        """The learning rate by mIoU, and how many images outside the budget it took to choose it."""
        if selection == "fixed":
            return self.options.lr, 0
        candidates, validation = self.options.candidates(), self.dataset.splits.validation
        if selection == "within_budget":
            quality, outside = [self._cross_validated(cell, indices, lr) for lr in candidates], 0
        else:
            counted = [self.counts(self.train(cell, indices, lr), validation) for lr in candidates]
            quality, outside = [mean(counts.class_iou) for counts in counted], len(validation)
        return float(candidates[int(choose(np.array(quality), candidates, self.options.lr))]), outside

    def _cross_validated(self, cell: Cell, indices: np.ndarray, lr: float) -> float:
        """mIoU of one confusion matrix over all folds; chips of one scene may be in different folds."""
        folds = fold_count(len(indices), self.options.folds)
        held_out = stratified_folds(
            strata(cast(np.ndarray, self.dataset.images.histograms)[indices]), folds, cell.label_budget, cell.draw
        )
        counts = DenseCounts(len(self.class_names))
        for fold in range(folds):
            network = self.train(cell, indices[held_out != fold], lr)
            counts.confusion += self.counts(network, indices[held_out == fold]).confusion
        return mean(counts.class_iou)

    def _check_test_pixels(self) -> None:
        images, counted = self.dataset.images, self.table[: len(self.dataset.splits.class_names)] != 255
        for name in ("train", "test"):
            pixels = cast(np.ndarray, images.histograms)[getattr(self.dataset.splits, name)].sum(0)
            if not (pixels * counted).any():
                raise UserError(f"segmentation: no {name} pixel of {self.dataset.name} has a class that counts")
