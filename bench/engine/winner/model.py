"""A winner as one network: images to calibrated class logits."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.batches import to_float
from bench.engine.winner.heads import Head
from bench.methods.encoder import Encoder

FORMAT = 3  # 1: classification alone; 2: segmentation too; 3: few-shot too
_BATCH = 256


class WinnerModel(nn.Module):
    """Encoder, layer, head and temperature; the softmax of what it returns is the calibrated probability."""

    def __init__(self, encoder: Encoder, layer: str, head: Head, temperature: float = 1.0) -> None:
        super().__init__()
        self.encoder, self.layer, self.head, self.temperature = encoder, layer, head, temperature

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float32 [N, K], of images, float32 [N, C, H, W] in [0, 1]."""
        features = self.encoder.embed(images, [self.layer])[self.layer]
        return (self.head(features) / self.temperature).float()


@torch.inference_mode()
def logits_of(model: WinnerModel, images: np.ndarray, indices: np.ndarray) -> Tensor:
    """Logits, float32 [n, K], of some of the stored images, uint8 [N, H, W, C], read a batch at a time."""
    parts = np.split(indices, range(_BATCH, len(indices), _BATCH))
    return torch.cat([model(to_float(images[part])) for part in parts])
