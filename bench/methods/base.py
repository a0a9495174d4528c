"""What a method is: a network with a loss on a batch of images, and the encoder it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.draws import Draws
from bench.methods.feature_maps import Encoder
from bench.study.methods import TrainedOptions


class Stage(NamedTuple):
    """One of several trainings that make a pretraining.

    Attributes:
        name: of its checkpoint and its seed.
        method: what learns.
        options: of this training.
        pool: int64, numbers of the images it is trained on.
    """

    name: str
    method: Method
    options: TrainedOptions
    pool: np.ndarray


class Method(nn.Module):
    """A pretext task on images in [0, 1]; it knows nothing of files, workers or protocols.

    Class attributes:
        trains: whether there is a loss.
        fits: whether there is a `fit`, which takes the place of a training.
        needs_masks: whether it learns from masks: it is built for a number of classes, and `bind` gives it the masks.
        batch_independent: whether the loss of a batch is the mean of the losses of its parts of equal size, which may
            then be taken one after the other where memory is short.

    Attributes:
        targets: uint8 [P, H, W], what is to be learned of each image of the pool, in its order: the loop hands `loss`
            those of the batch, int64 [N, H, W], as a third argument. None: there is nothing but images.
    """

    trains: ClassVar[bool] = True
    fits: ClassVar[bool] = False
    needs_masks: ClassVar[bool] = False
    batch_independent: ClassVar[bool] = False
    backbone: Encoder
    targets: np.ndarray | None = None

    def __init__(self, backbone: Encoder) -> None:
        super().__init__()
        self.backbone = backbone

    def loss(self, images: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch.

        Args:
            images: float [N, C, H, W] in [0, 1].
            draws: the batch's random numbers, for the N samples.

        Returns:
            A float32 scalar, the mean over the samples, and scalars worth logging.
        """
        raise NotImplementedError

    def begin_step(self, step: int, steps: int, epoch: int) -> None:
        """Told by the loop ahead of every step, for schedules.

        Args:
            step: number of the step, from 0.
            steps: of the whole training.
            epoch: that the step belongs to, from 0.
        """

    def adjust_gradients(self) -> None:
        """Called between the gradients and the update, to clip or to drop some (`grad = None` freezes for a step)."""

    def end_step(self) -> None:
        """Called behind the update: here, and not in `loss`, what is kept from step to step moves on (buffers)."""

    def forward(self, images: Tensor, draws: Draws, *targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """`loss`, under the name that parallel wrappers call."""
        return self.loss(images, draws, *targets)

    def encoder(self) -> Encoder:
        """What the pretraining leaves behind: it shares the method's weights, or is made from them at each call."""
        return self.backbone

    def fit(self, images: np.ndarray, pool: np.ndarray, seed: int) -> None:
        """Computes the encoder from unlabelled images, where `fits` is true.

        Args:
            images: uint8 [N, H, W, C], memory-mapped or not.
            pool: int64, numbers of the images that may be read: the train pool.
            seed: of every random choice.
        """
        raise TypeError(f"{type(self).__name__} has nothing to fit")

    def bind(self, masks: np.ndarray | None, pool: np.ndarray) -> None:
        """Sets `targets` ahead of the training, where `needs_masks` is true.

        Args:
            masks: uint8 [images, H, W], class of each pixel or 255; None where the data set has none.
            pool: int64 [P], numbers of the images that may be read: the train pool.

        Raises:
            UserError: there are no masks.
        """
        raise TypeError(f"{type(self).__name__} learns from images alone")

    def stages(self, images: np.ndarray, pool: np.ndarray, seed: int) -> Iterator[Stage]:
        """Trainings behind the method's own: each is asked for when the one before it is done; none by default.

        Where the last one is done too, the method takes up what they made. Options say so with `staged`.

        Args:
            images: uint8 [N, H, W, C], memory-mapped or not.
            pool: int64, numbers of the images that may be read: the train pool.
            seed: of every random choice between the trainings.
        """
        return iter(())

    def optimizer(self) -> torch.optim.Optimizer | None:
        """The optimiser that the task asks for; None: AdamW.

        The loop sets the learning rate of every group at each step: the scheduled `lr` of the options, times the
        group's `lr_scale` where it has one.
        """
        return None

    def save_extra(self, folder: Path) -> None:
        """Writes what the pretraining leaves behind beside the encoder into the encoder's folder."""

    def measurements(self) -> dict[str, float]:
        """Numbers about the result beside its scores, by name (bits per weight, density), kept in the rows."""
        return {}

    def preview(self, images: Tensor, draws: Draws) -> dict[str, Tensor]:
        """Pictures of the task, each [N, C, H, W] in [0, 1]: input, what the network saw, what it made of it."""
        raise NotImplementedError


class Untrained(Method):
    """An entrant without a pretext task."""

    trains: ClassVar[bool] = False

    def loss(self, images: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        raise TypeError(f"{type(self).__name__} has nothing to train")

    def preview(self, images: Tensor, draws: Draws) -> dict[str, Tensor]:
        return {"input": images}
