"""Networks of libraries ahead of a study: their outlines, and whether they can take its images."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.encoder import Encoder, build_encoder

_IMAGES = 2


class Networks:
    """Every network is built once, on the meta device: without memory for weights, and what runs on it costs little.

    What fails there is tried again with values, which some networks need (a schedule computed by torch).
    """

    def __init__(self, shape: ImageShape) -> None:
        self.shape = shape
        self._outlines: dict[tuple[str, int | None], Encoder] = {}
        self._taken: set[tuple[str, int | None, tuple[str, ...]]] = set()

    def outline(self, key: str, name: str, patch_size: int | None = None) -> Encoder:
        """The encoder of this name, in evaluation mode, on the meta device where that can be.

        Args:
            key: of what names it, for errors; they go on with `.encoder`.
            name: timm/NAME, unet/NAME or a preset.
            patch_size: of a vision transformer, in pixels.

        Raises:
            UserError: it cannot be built for the images.
        """
        known = (name, patch_size)
        if known not in self._outlines:
            try:
                self._outlines[known] = self._outlined(name, patch_size)
            except UserError as error:
                raise UserError(f"{key}.{error}") from None
        return self._outlines[known]

    def check_forward(self, key: str, name: str, patch_size: int | None, layers: Iterable[str]) -> None:
        """Runs two blank images through an encoder that `outline` knows, as far as the deepest of the layers.

        Raises:
            UserError: it cannot take images of this shape, which many networks say in their forward pass alone.
        """
        wanted = tuple(sorted(set(layers)))
        if (name, patch_size, wanted) in self._taken:
            return
        try:
            _run(self._outlines[name, patch_size], wanted)
        except Exception:
            self._check_values(key, name, patch_size, wanted)
        self._taken.add((name, patch_size, wanted))

    def _outlined(self, name: str, patch_size: int | None) -> Encoder:
        try:
            return self._built(name, patch_size, "meta")
        except Exception:
            return self._built(name, patch_size, "cpu")

    def _check_values(self, key: str, name: str, patch_size: int | None, layers: tuple[str, ...]) -> None:
        try:
            _run(self._built(name, patch_size, "cpu"), layers)
        except Exception as error:  # networks refuse images in as many ways as there are networks
            channels = f"{self.shape.channels} channel{'' if self.shape.channels == 1 else 's'}"
            images = f"{self.shape.height} x {self.shape.width} images of {channels}"
            reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
            raise UserError(f"{key}: {name} cannot take {images}: {reason}") from error

    def _built(self, name: str, patch_size: int | None, device: str) -> Encoder:
        channels = self.shape.channels
        with torch.random.fork_rng(devices=[]), torch.device(device):
            return build_encoder(name, self.shape, [0.0] * channels, [1.0] * channels, patch_size=patch_size).eval()


@torch.no_grad()
def _run(encoder: Encoder, layers: tuple[str, ...]) -> None:
    encoder.forward_layers(torch.zeros(_IMAGES, *encoder.shape, device=encoder.device), layers)
