"""What a method is: a network with a loss on a batch of images, and the encoder it leaves behind."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from bench.data.draws import Draws
from bench.methods.feature_maps import Encoder


class Method(nn.Module):
    """A pretext task on images in [0, 1]; it knows nothing of files, workers or protocols.

    Class attributes:
        trains: whether there is a loss.
    """

    trains: ClassVar[bool] = True
    backbone: Encoder

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

    def forward(self, images: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """`loss`, under the name that parallel wrappers call."""
        return self.loss(images, draws)

    def encoder(self) -> Encoder:
        """What the pretraining leaves behind; it shares the method's weights."""
        return self.backbone

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
