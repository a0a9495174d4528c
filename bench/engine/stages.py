"""The trainings of one pretraining: of most methods one, of a cascade one for each of its networks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.methods.base import Method
from bench.seeds import named_seed
from bench.study.methods import MethodOptions
from bench.training.loop import OnEpoch, TrainingResult, pretrain


def train_stages(
    method: Method,
    images: np.ndarray,
    options: MethodOptions,
    key: str,
    *,
    pool: np.ndarray,
    checkpoints: Path,
    on_epoch: OnEpoch | None = None,
    **how: Any,
) -> TrainingResult:
    """Trains the method, then each of its `stages`; the first training that does not end well ends them all.

    Every training has its checkpoint, so that one that is done is not done again; what lies between trainings is.

    Args:
        method: as in `pretrain`; trained in place.
        images: uint8 [N, H, W, C].
        options: of the method.
        key: of the pretraining; names the seeds.
        pool: int64, numbers of the images to train on.
        checkpoints: folder, one file for every training.
        on_epoch: called behind the epochs of the method's own training.
        how: `device`, `rank`, `world` and `checkpoint_seconds` of `pretrain`.

    Returns:
        Seconds, epochs and losses of all trainings together.
    """
    results = [
        pretrain(
            method,
            images,
            options,
            named_seed(key, "training"),
            pool=pool,
            checkpoint=checkpoints / "checkpoint.pt",
            checkpoint_end=options.staged,
            on_epoch=on_epoch,
            **how,
        )
    ]
    stages, between = method.stages(images, pool, named_seed(key, "stages")), 0.0
    while results[-1].status == "ok":
        began = time.perf_counter()
        stage = next(stages, None)
        between += time.perf_counter() - began
        if stage is None:
            break
        result = pretrain(
            stage.method,
            images,
            stage.options,
            named_seed(key, "training", stage.name),
            pool=stage.pool,
            checkpoint=checkpoints / f"{stage.name}.pt",
            checkpoint_end=True,
            **how,
        )
        results.append(replace(result, reason=f"{stage.name}: {result.reason}" if result.reason else ""))
    return results[0] if len(results) == 1 else combined(results, between)


def combined(results: Sequence[TrainingResult], between: float) -> TrainingResult:
    """Several trainings as one; `between` are the seconds spent between them. Status and reason are the last's."""
    training = sum(result.seconds for result in results)
    images = sum(result.images_per_second * result.seconds for result in results)
    return TrainingResult(
        results[-1].status,
        results[-1].reason,
        sum(result.epochs for result in results),
        training + between,
        images / training if training else 0.0,
        [loss for result in results for loss in result.losses],
        [loss for result in results for loss in result.step_losses],
        max(result.micro_batches for result in results),
    )
