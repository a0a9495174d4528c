"""The network as its pretraining left it: decoder and all, scored on every test pixel, no label of a budget read."""

from __future__ import annotations

import copy
from typing import cast

import numpy as np
import torch

from bench.data.batches import to_float
from bench.data.blocks import image_blocks
from bench.errors import UserError
from bench.methods.dense_head import load_head
from bench.protocols.base import Evaluation, Score
from bench.protocols.dense_metrics import DenseCounts
from bench.protocols.dense_scoring import class_table, count_details, score_maps
from bench.study.protocols import ALL, AsIsOptions


def run(evaluation: Evaluation) -> list[Score]:
    """One score, written down for every cell, in their order.

    Raises:
        UserError: the pretraining left no decoder.
    """
    dataset, options = evaluation.dataset, cast(AsIsOptions, evaluation.options)
    names, targets = options.targets(dataset.splits.class_names)
    counts, parameters = _counts(evaluation, targets, len(names))
    return [
        Score(
            cell=cell,
            n_labels=len(dataset.splits.train) if cell.label_budget == ALL else int(cell.label_budget),
            metrics=counts.metrics(),
            class_counts=None,
            class_correct=None,
            correct=None,
            selected={},
            n_candidates=1,
            n_selection_labels=0,
            selection="fixed",
            extra={
                "n_test": len(dataset.splits.test),
                "bytes_added": 4 * parameters,
                "labels_read": 0,
                **count_details(counts, names),
            },
        )
        for cell in evaluation.cells
    ]


def _counts(evaluation: Evaluation, targets: tuple[int | None, ...], n_classes: int) -> tuple[DenseCounts, int]:
    """Counts over every pixel of the test images, and how many numbers the decoder's head has."""
    if evaluation.folder is None:
        raise UserError("as_is: this encoder has no folder, hence no decoder beside it")
    encoder = copy.deepcopy(evaluation.encoder())
    head = load_head(evaluation.folder, encoder).to(evaluation.device)
    merged = torch.zeros(len(targets), n_classes, device=evaluation.device)
    for label, target in enumerate(targets):
        if target is not None:
            merged[label, target] = 1.0
    images = evaluation.dataset.images

    @torch.no_grad()
    def predict(batch: np.ndarray) -> np.ndarray:
        logits = head(encoder, to_float(images.images[batch], evaluation.device)).float()
        return torch.einsum("nkhw,kt->nthw", logits.softmax(1), merged).cpu().numpy()

    splits = evaluation.dataset.splits
    counts = score_maps(predict, images, splits.test, class_table(targets), n_classes, image_blocks(splits))
    return counts, sum(parameter.numel() for parameter in head.parameters())
