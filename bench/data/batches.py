"""From stored bytes to what a network reads."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_float(images: np.ndarray | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Turns stored images into a batch.

    Args:
        images: uint8 [N, H, W, C], an array (memory-mapped or not) or a tensor.
        device: where the batch goes; the bytes travel, so four times less than floats would.

    Returns:
        float32 [N, C, H, W] in [0, 1], contiguous.

    Raises:
        TypeError: the images are not bytes.
    """
    # a memory map is read-only, which torch.from_numpy warns about: copy it, it has to be read anyway
    tensor = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
    if tensor.dtype != torch.uint8:
        raise TypeError(f"images are stored as uint8, but got {tensor.dtype}")
    moved = tensor.to(device, non_blocking=True).permute(0, 3, 1, 2)
    return moved.to(torch.float32, memory_format=torch.contiguous_format).div_(255.0)
