"""What turns an encoder into a segmentation network for its pretraining."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn
from torch.nn import functional

from bench.errors import UserError
from bench.methods.encoder import Encoder

HEAD = "decoder.safetensors"  # beside the encoder
FINEST = "dec1"  # the last layer of a U-Net's own decoder
_NARROWEST, _WIDEST = 16, 128  # channels of the decoder's blocks
_RESTORE = ("out", "segmentation_head")  # of a U-Net as the other methods use it: from its last layer to an image
_NORM: dict[str, Any] = {"type": "instancenorm", "affine": True}  # statistics of each image by itself


class DenseHead(nn.Module):
    """Logits from an encoder's maps: a convolution on a U-Net's own decoder, else on a U-Net decoder made for it.

    Such a decoder reads the deepest map of every stride; a vision transformer has one.

    Attributes:
        layers: that are read, the finest first.
    """

    def __init__(self, encoder: Encoder, n_classes: int) -> None:
        """Builds it, as the library initialises it, and freezes the part of a U-Net that nothing reads here."""
        super().__init__()
        self.decoder: nn.Module | None = None
        self.layers = [FINEST]
        channels = encoder.layers[FINEST].channels if FINEST in encoder.layers else _NARROWEST
        if FINEST in encoder.layers:
            for name in _RESTORE:
                if (part := getattr(encoder.backbone, name, None)) is not None:
                    part.requires_grad_(False)
        else:
            self.layers = list({info.stride: name for name, info in encoder.layers.items()}.values())
            widths = [max(_NARROWEST, _WIDEST >> step) for step in range(len(self.layers))]
            inputs = [encoder.layers[name].channels for name in self.layers]
            self.decoder = UnetDecoder([0, *inputs], widths, n_blocks=len(widths), use_norm=_NORM)
            initialize_decoder(self.decoder)
            channels = widths[-1]
        self.head = SegmentationHead(channels, n_classes, kernel_size=3)
        initialize_head(self.head)

    def forward(self, encoder: Encoder, images: Tensor) -> Tensor:
        """Logits [N, K, H, W] of images [N, C, H, W] in [0, 1]."""
        maps = list(encoder.forward_layers(images, self.layers).values())
        features = maps[0]
        if self.decoder is not None:
            blank = images.new_empty(0, 0, *images.shape[-2:])  # tells the decoder how large the image is
            features = self.decoder([blank, *maps])
        logits: Tensor = functional.interpolate(
            self.head(features), images.shape[-2:], mode="bilinear", align_corners=False
        )
        return logits


def save_head(head: DenseHead, n_classes: int, folder: Path) -> None:
    """Writes the weights of what stands behind the encoder to `decoder.safetensors` in the encoder's folder."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
    save_file(weights, folder / HEAD, metadata={"classes": str(n_classes)})


def load_head(folder: Path, encoder: Encoder) -> DenseHead:
    """What `save_head` wrote, in evaluation mode on the CPU, for the encoder of this folder.

    Raises:
        UserError: the folder holds none.
    """
    if not (folder / HEAD).is_file():
        raise UserError(f"{str(folder)!r} holds no {HEAD}: its pretraining left no decoder; valid: noisy_labels")
    with safe_open(folder / HEAD, framework="pt") as file:
        n_classes = int(file.metadata()["classes"])
    with torch.random.fork_rng(devices=[]):  # initialised once more, and overwritten
        head = DenseHead(encoder, n_classes)
    head.load_state_dict(load_file(folder / HEAD))
    return head.eval()
