"""A segmentation winner as one network: images to calibrated class logits of every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.engine.winner.heads import HEAD
from bench.methods.encoder import Encoder
from bench.protocols.decoders import Segmenter
from bench.protocols.pyramid import Level

KIND = "decoder"
_ENCODER = "encoder."


class SegmentationModel(nn.Module):
    """Encoder, decoder and temperature; the softmax of what it returns is the calibrated probability."""

    def __init__(self, segmenter: Segmenter, temperature: float = 1.0) -> None:
        super().__init__()
        self.segmenter, self.temperature = segmenter, temperature

    @property
    def encoder(self) -> Encoder:
        return self.segmenter.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float32 [N, K, H, W], of images, float32 [N, C, H, W] in [0, 1]."""
        return (self.segmenter(images) / self.temperature).float()


def decoder_settings(decoder: str, width: int, network: Segmenter) -> dict[str, Any]:
    """What rebuilds the decoder beside its tensors, plain JSON data."""
    return {"kind": KIND, "decoder": decoder, "width": width, "levels": [list(level) for level in network.levels]}


def save_decoder(network: Segmenter, folder: Path) -> None:
    """Writes statistics of the maps, decoder and its head to `head.safetensors` in the folder."""
    state = network.state_dict().items()
    # levels of one layer share their statistics, which a safetensors file may not
    kept = {name: tensor.cpu().contiguous().clone() for name, tensor in state if not name.startswith(_ENCODER)}
    save_file(kept, folder / HEAD)


def load_segmenter(encoder: Encoder, settings: Mapping[str, Any], n_classes: int, folder: Path) -> Segmenter:
    """The network that `save_decoder` wrote, behind its encoder, in evaluation mode; nothing is unpickled."""
    levels = [Level(str(layer), int(stride)) for layer, stride in settings["levels"]]
    sizes = [(1, encoder.layers[level.layer].channels, 1, 1) for level in levels]
    blank = [(torch.zeros(size), torch.ones(size)) for size in sizes]  # overwritten in place, so none is shared
    with torch.random.fork_rng(devices=[]):  # initialised once more, and overwritten
        network = Segmenter(encoder, levels, blank, settings["decoder"], settings["width"], n_classes)
    saved = load_file(folder / HEAD)
    wanted = {name for name in network.state_dict() if not name.startswith(_ENCODER)}
    if wanted != set(saved):
        raise ValueError(f"{HEAD} holds other tensors than its decoder has")
    network.load_state_dict(saved, strict=False)
    return network.eval()
