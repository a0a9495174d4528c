"""Multi-crop, arXiv 2006.09882 section 3.2: two large views of an image and some small ones of parts of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from bench.data.augment import augment, find_policy
from bench.data.draws import Draws
from bench.data.policies import Policy
from bench.errors import UserError
from bench.methods.attention import is_transformer
from bench.methods.feature_maps import Encoder
from bench.study.methods.crops import MultiCropOptions

GLOBAL_CROPS = 2


@dataclass(frozen=True)
class MultiCrop:
    """How the crops are made: the policy and the height and width in pixels of each kind, and how many are local."""

    large: Policy
    small: Policy
    large_size: tuple[int, int]
    small_size: tuple[int, int]
    locals: int

    def __call__(self, images: Tensor, draws: Draws) -> list[Tensor]:
        """Global crops [2 N, C, H, W] and, where there are some, local crops [locals N, C, h, w]; crop by crop."""
        views = [augment(images, self.large, draws, self.large_size, copies=GLOBAL_CROPS)]
        if self.locals:
            views.append(augment(images, self.small, draws, self.small_size, copies=self.locals))
        return views

    @torch.no_grad()
    def pictures(self, images: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The first crops of every image, stretched to its size: view1, view2 and local1 ... local3."""
        pictures: dict[str, Tensor] = {}
        for kind, views in zip(("view", "local"), self(images, draws), strict=False):
            for number, crop in enumerate(views.split(len(images))[:3], start=1):
                pictures[f"{kind}{number}"] = functional.interpolate(crop, size=images.shape[-2:], mode="nearest")
        return pictures


def multi_crop(options: MultiCropOptions, encoder: Encoder) -> MultiCrop:
    """The crops that the options ask for, for the images of this encoder.

    Raises:
        UserError: no such policy, or crops of a size that the encoder cannot take.
    """
    policy, shape = find_policy(options.augmentation), encoder.shape
    patch = encoder.backbone.patch_embed.patch_size[0] if is_transformer(encoder) else 1
    large_size, small_size = options.crop_sizes(shape.height, shape.width, patch)
    for key, size in (("global_size", large_size), ("local_size", small_size)):
        _check_size(f"{options.name}.{key}", options.encoder, encoder, size)
    return MultiCrop(
        large=replace(policy, area=(options.crop_split, 1.0)),
        small=replace(policy, area=(options.crop_least, options.crop_split)),
        large_size=large_size,
        small_size=small_size,
        locals=options.local_crops,
    )


@torch.no_grad()
def _check_size(key: str, name: str, encoder: Encoder, size: tuple[int, int]) -> None:
    """Tries an image of this size where the encoder may be one of those that take only their own."""
    if is_transformer(encoder) or size == (encoder.shape.height, encoder.shape.width):
        return
    training = encoder.training
    try:
        encoder.eval()(torch.zeros(1, encoder.shape.channels, *size))
    except (AssertionError, RuntimeError) as error:
        raise UserError(
            f"{key}: {name!r} takes no crops of {size[0]} x {size[1]} pixels ({str(error).splitlines()[0]}); "
            f"valid: {min(encoder.shape.height, encoder.shape.width)}, or another encoder"
        ) from error
    finally:
        encoder.train(training)
