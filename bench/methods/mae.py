"""Masked autoencoder, arXiv 2111.06377: a transformer sees the visible patches, a light one predicts the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from bench.data.augment import augment, find_policy
from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.base import Method
from bench.methods.encoder import build_encoder
from bench.methods.vit import VitEncoder, initialise, sincos_positions
from bench.study.methods import MaeOptions

EPSILON = 1e-6


class Mae(Method):
    """Section 3 of the paper; the encoder never sees a mask token, the loss never a visible patch."""

    backbone: VitEncoder

    def __init__(self, options: MaeOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(build_encoder(options.encoder, shape, mean, std, patch_size=options.patch_size))
        self.policy = find_policy(options.augmentation)
        self.norm_pix = options.norm_pix
        rows, columns = self.backbone.grid
        self.len_keep = kept(rows * columns, options.mask_ratio)
        self.decoder = Decoder(
            inputs=self.backbone.arguments["width"],
            width=options.decoder_width,
            depth=options.decoder_depth,
            heads=options.decoder_heads,
            grid=self.backbone.grid,
            outputs=self.backbone.patch_size**2 * shape.channels,
        )

    def loss(self, images: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        pixels = self.backbone.normalise(augment(images, self.policy, draws))
        masking = random_masking(draws.uniform(self.backbone.grid[0] * self.backbone.grid[1]), self.len_keep)
        predicted = self.decoder(self.encode(pixels, masking), masking.ids_restore)
        target = patchify(pixels, self.backbone.patch_size)
        if self.norm_pix:
            target = standardise(target)
        error = (predicted.float() - target).square().mean(dim=2)  # [N, L]
        return (error * masking.mask).sum() / masking.mask.sum(), {}

    def encode(self, pixels: Tensor, masking: Masking) -> Tensor:
        """Latents of the class token and the visible patches, [N, 1 + len_keep, width], of normalised images."""
        visible = take(self.backbone.patch_tokens(pixels), masking.ids_keep)
        tokens = torch.cat([self.backbone.class_tokens(len(visible)), visible], dim=1)
        return self.backbone.backbone.norm(self.backbone.backbone.blocks(tokens))

    @torch.no_grad()
    def preview(self, images: Tensor, draws: Draws) -> dict[str, Tensor]:
        """Removed patches are grey in the corrupted input; the reconstruction keeps the visible ones."""
        patch, grid = self.backbone.patch_size, self.backbone.grid
        pixels = self.backbone.normalise(augment(images, self.policy, draws))
        masking = random_masking(draws.uniform(grid[0] * grid[1]), self.len_keep)
        predicted = self.decoder(self.encode(pixels, masking), masking.ids_restore).float()
        target = patchify(pixels, patch)
        if self.norm_pix:  # back to pixels with the statistics that the target was standardised by
            var, mean = torch.var_mean(target, dim=2, keepdim=True)
            predicted = predicted * (var + EPSILON).sqrt() + mean
        removed = masking.mask.unsqueeze(2)
        views = {"corrupted": target * (1 - removed), "reconstruction": target * (1 - removed) + predicted * removed}
        pictures = {"input": pixels} | {name: unpatchify(view, patch, grid) for name, view in views.items()}
        return {name: self.backbone.denormalise(picture).clamp(0, 1) for name, picture in pictures.items()}


class Decoder(nn.Module):
    """From latents of visible patches to the pixels of every patch."""

    def __init__(self, *, inputs: int, width: int, depth: int, heads: int, grid: tuple[int, int], outputs: int) -> None:
        super().__init__()
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.embed = nn.Linear(inputs, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads, qkv_bias=True, norm_layer=norm) for _ in range(depth)))
        self.norm = norm(width)
        self.predict = nn.Linear(width, outputs)
        initialise(self)
        self.register_buffer("positions", sincos_positions(width, grid), persistent=False)

    def forward(self, latents: Tensor, ids_restore: Tensor) -> Tensor:
        """[N, 1 + len_keep, inputs] and [N, L] -> [N, L, outputs]."""
        tokens = self.embed(latents)
        cls, visible = tokens[:, :1], tokens[:, 1:]
        count, total = ids_restore.shape
        hidden = self.mask_token.to(visible.dtype).expand(count, total - visible.shape[1], -1)
        patches = take(torch.cat([visible, hidden], dim=1), ids_restore)
        tokens = self.blocks(torch.cat([cls, patches], dim=1) + self.positions)
        return self.predict(self.norm(tokens))[:, 1:]


class Masking(NamedTuple):
    """Which patches the encoder sees: ids_keep [N, len_keep]; mask float [N, L], 1 = removed; ids_restore [N, L]."""

    ids_keep: Tensor
    mask: Tensor
    ids_restore: Tensor


def random_masking(noise: Tensor, len_keep: int) -> Masking:
    """Keeps the patches with the len_keep smallest noises of each sample; noise is uniform [N, L]."""
    ids_shuffle = noise.argsort(dim=1)
    ids_restore = ids_shuffle.argsort(dim=1)
    mask = (ids_restore >= len_keep).float()
    return Masking(ids_shuffle[:, :len_keep], mask, ids_restore)


def kept(patches: int, mask_ratio: float) -> int:
    """int(patches * (1 - mask_ratio)), safe against 10 * (1 - 0.9) = 0.99...

    Raises:
        UserError: nothing would be visible, or nothing removed.
    """
    count = int(patches * (1 - mask_ratio) + 1e-6)
    if not 0 < count < patches:
        raise UserError(f"mae.mask_ratio: {mask_ratio} keeps {count} of {patches} patches; take another, or patch_size")
    return count


def take(tokens: Tensor, ids: Tensor) -> Tensor:
    """Tokens of each sample by number: [N, L, D] and [N, K] -> [N, K, D]."""
    return tokens.gather(1, ids.unsqueeze(2).expand(-1, -1, tokens.shape[2]))


def patchify(images: Tensor, patch: int) -> Tensor:
    """[N, C, H, W] -> [N, L, patch * patch * C], row by row, channel last inside a patch."""
    patches = images.unflatten(2, (-1, patch)).unflatten(4, (-1, patch))
    return torch.einsum("nchpwq->nhwpqc", patches).flatten(3).flatten(1, 2)


def unpatchify(patches: Tensor, patch: int, grid: tuple[int, int]) -> Tensor:
    """The inverse of `patchify` for a grid of (rows, columns) patches."""
    images = patches.unflatten(1, grid).unflatten(3, (patch, patch, -1))
    return torch.einsum("nhwpqc->nchpwq", images).flatten(4).flatten(2, 3)


def standardise(target: Tensor) -> Tensor:
    """Each patch by its own mean and (unbiased) variance; [N, L, pixels]."""
    var, mean = torch.var_mean(target, dim=2, keepdim=True)
    return (target - mean) / (var + EPSILON).sqrt()
