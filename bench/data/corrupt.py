"""What a pretext task spoils: hidden patches, Gaussian noise and the salt of its cast to bytes, drawn per sample."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.data.draws import Draws
from bench.errors import UserError


def hidden_count(patches: int, ratio: float) -> int:
    """How many of `patches` a mask ratio in [0, 1] hides: int(patches * ratio), safe against 0.29 * 100 = 28.999...

    Raises:
        ValueError: the ratio is outside [0, 1].
    """
    if not 0.0 <= ratio <= 1.0:
        raise ValueError(f"a mask ratio lies in [0, 1], but got {ratio}")
    return int(patches * ratio + 1e-6)


def patch_mask(grid: tuple[int, int], ratio: float, draws: Draws) -> Tensor:
    """Chooses patches to hide, uniformly without replacement, the same number in every sample.

    Args:
        grid: patches down and across.
        ratio: share of the patches to hide, in [0, 1].
        draws: the randomness; one uniform number a patch is drawn.

    Returns:
        bool [N, rows, columns], True where a patch is hidden.
    """
    rows, columns = grid
    order = draws.uniform(rows * columns).argsort(dim=1)  # a uniform permutation of the patches of each sample
    hidden = torch.zeros_like(order, dtype=torch.bool)
    hidden.scatter_(1, order[:, : hidden_count(rows * columns, ratio)], True)
    return hidden.view(-1, rows, columns)


def pixel_mask(mask: Tensor, patch: int) -> Tensor:
    """Spreads a patch mask over its pixels: [N, rows, columns] -> [N, 1, rows * patch, columns * patch]."""
    return mask.repeat_interleave(patch, dim=1).repeat_interleave(patch, dim=2).unsqueeze(1)


def mask_patches(images: Tensor, patch: int, ratio: float, draws: Draws) -> tuple[Tensor, Tensor]:
    """Paints random square patches black (U-Net masked autoencoder, arXiv 2410.19899).

    Args:
        images: float [N, C, H, W] in [0, 1].
        patch: side of a patch in pixels.
        ratio: share of the patches to hide, in [0, 1].
        draws: the randomness, for the N samples.

    Returns:
        The spoilt images, [N, C, H, W], and what was hidden, bool [N, 1, H, W].

    Raises:
        UserError: the patch does not divide the image.
    """
    height, width = images.shape[-2:]
    if height % patch or width % patch:
        valid = [side for side in range(1, min(height, width) + 1) if height % side == 0 and width % side == 0]
        raise UserError(f"a patch of {patch} pixels does not divide a {height} x {width} image; valid: {valid}")
    hidden = pixel_mask(patch_mask((height // patch, width // patch), ratio, draws), patch)
    return images.masked_fill(hidden, 0.0), hidden


def add_noise(images: Tensor, sigma: float, draws: Draws) -> Tensor:
    """Adds white Gaussian noise.

    The result is not clipped to [0, 1]: clipping makes the noise depend on the pixel under it (halved and shifted where
    the image is black or white), so sigma would no longer be the noise level and the axis would mean something else
    on bright images than on dark ones.

    Args:
        images: float [N, C, H, W] in [0, 1].
        sigma: standard deviation in the same units, so 1.0 is the whole pixel range.
        draws: the randomness, for the N samples.

    Returns:
        [N, C, H, W], same dtype, with values outside [0, 1].
    """
    return images + sigma * draws.normal(*images.shape[1:]).to(images.dtype)


def add_uint8_noise(images: Tensor, sigma: float, draws: Draws) -> Tensor:
    """Adds Gaussian noise that was cast to unsigned bytes, as the published code of arXiv 2410.19899 does.

    There, noise on the 0..255 scale is drawn with NumPy, cast by `astype(uint8)` and added with saturation. The cast
    drops the fraction and wraps what is negative: -0.7 becomes 0, -1.3 becomes 255, -2.6 becomes 254. So hardly
    anything is Gaussian: a value whose noise lies at -1 or below saturates (salt; 3.2 % of the values at the published
    sigma of 0.54), one at 1 or above rises by a few grey levels, and all others stay as they are.

    Args:
        images: float [N, C, H, W] in [0, 1]; bytes over 255 give what the published code gives, over 255.
        sigma: standard deviation before the cast, in grey levels (1/255 of the pixel range).
        draws: the randomness, for the N samples.

    Returns:
        [N, C, H, W], same dtype, in [0, 1].
    """
    levels = (sigma * draws.normal(*images.shape[1:])).trunc().remainder(256)
    return (images + levels.to(images.dtype) / 255).clamp(max=1.0)
