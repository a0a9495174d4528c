"""Live loggers by name, and what they are told: the losses of every pretraining, and the scores of its rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from bench.engine.loggers.aim import Aim
from bench.engine.loggers.base import Logger, Point, Subject
from bench.engine.loggers.mlflow import Mlflow
from bench.engine.loggers.tensorboard import TensorBoard
from bench.engine.loggers.wandb import Wandb
from bench.errors import UserError, unknown
from bench.store.metrics import SCORES
from bench.store.mirror import mirror_of
from bench.store.secrets import said
from bench.study.methods import MethodOptions

if TYPE_CHECKING:  # the driver prepares loggers, and loads no PyTorch
    from bench.training.loop import EpochReport, OnEpoch

log = logging.getLogger(__name__)

LOGGERS: Mapping[str, type[Logger]] = {"tensorboard": TensorBoard, "mlflow": Mlflow, "wandb": Wandb, "aim": Aim}


def check_loggers(names: Sequence[str], root: Path) -> None:
    """Refuses what cannot be logged to; makes nothing.

    Raises:
        UserError: no such logger, its library is not installed, or the results lie at an address.
    """
    for name in names:
        if name not in LOGGERS:
            raise unknown("logger", name, LOGGERS, "--log")
        library, extra = LOGGERS[name].library, LOGGERS[name].extra
        if find_spec(library) is None:
            raise UserError(f"--log {name}: {library} is not installed; pip install 'pretextbench[{extra}]'")
        if mirror_of(root) is not None:
            raise UserError(f"--log {name}: loggers write to a folder; give --results a folder, not an address")


def prepare_loggers(names: Sequence[str], root: Path) -> tuple[str, ...]:
    """Checks the names and sets the loggers up, ahead of everything that is scheduled.

    Returns:
        The names, each once.

    Raises:
        UserError: as `check_loggers`.
    """
    check_loggers(names, root)
    for name in dict.fromkeys(names):
        LOGGERS[name].prepare(_folder(root, name))
    return tuple(dict.fromkeys(names))


@contextmanager
def logging_to(
    names: Sequence[str], root: Path, key: str, options: MethodOptions
) -> Iterator[Callable[[Sequence[Point]], None]]:
    """A function that hands numbers of this pretraining to the loggers.

    A logger that fails is left out from then on, with a warning: no training is lost to it.
    """
    label, parameters = f"{options.name}-{key[:12]}", options.model_dump(mode="json")
    running: dict[str, Logger] = {}
    for name in names:
        with _warned(name):
            running[name] = LOGGERS[name](Subject(_folder(root, name), key, label, parameters))

    def hand_over(points: Sequence[Point]) -> None:
        for name, logger in list(running.items()):
            with _warned(name, lambda name=name: running.pop(name)):
                logger.log(points)

    try:
        yield hand_over
    finally:
        for name, logger in running.items():
            with _warned(name):
                logger.close()


def logged(on_epoch: OnEpoch | None, hand_over: Callable[[Sequence[Point]], None]) -> OnEpoch:
    """An `on_epoch` that logs the losses of the epoch and the speed, then asks the one given."""

    def report(epoch: EpochReport) -> bool:
        first = (epoch.epoch - 1) * len(epoch.step_losses)
        points = [Point("loss/step", loss, first + place) for place, loss in enumerate(epoch.step_losses)]
        points += [
            Point("loss/epoch", epoch.loss, epoch.epoch),
            Point("images_per_second", epoch.images_per_second, epoch.epoch),
        ]
        hand_over(points)
        return on_epoch is None or on_epoch(epoch)

    return report


def score_points(rows: pl.DataFrame) -> list[Point]:
    """The scores of rows, a number for each: PROTOCOL/LAYER/SCORE/labels_BUDGET, standing at its draw."""
    return [
        Point("/".join([*_place(row), score, f"labels_{row['label_budget']}"]), float(row[score]), int(row["draw"]))
        for row in rows.iter_rows(named=True)
        for score in SCORES
        if row.get(score) is not None
    ]


def _place(row: Mapping[str, object]) -> list[str]:
    return [str(row[column]) for column in ("protocol", "layer", "fuse") if row[column] is not None]


def _folder(root: Path, name: str) -> Path:
    return root / "logs" / name


@contextmanager
def _warned(name: str, then: Callable[[], object] = lambda: None) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        log.warning("--log %s: %s", name, said(error))
        then()
