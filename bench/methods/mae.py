"""Masked autoencoder, arXiv 2111.06377: a transformer sees the visible patches, a light one predicts the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from bench.data.augment import augment, find_policy
from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.base import Method
from bench.methods.encoder import build_encoder
from bench.methods.masking import SAMPLERS, Masking, check_grid, kept
from bench.methods.patches import patchify, take, unpatchify
from bench.methods.plain_vit import PlainVit
from bench.methods.vit import initialise, sincos_positions
from bench.study.methods import MaeOptions

EPSILON = 1e-6


class Mae(Method):
    """Section 3 of the paper; the encoder never sees a mask token (unless asked to), the loss never a visible patch."""

    batch_independent = True

    def __init__(self, options: MaeOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(build_encoder(options.encoder, shape, mean, std, patch_size=options.patch_size))
        self.vit = PlainVit(self.backbone, options.name)
        self.policy = find_policy(options.augmentation)
        self.norm_pix = options.norm_pix
        self.sampler = SAMPLERS[options.sampling]
        if options.sampling == "grid":
            check_grid(*self.vit.grid)
        patches = self.vit.grid[0] * self.vit.grid[1]
        self.len_keep = kept(patches, options.mask_ratio)
        self.len_decoded = max(1, int((patches - self.len_keep) * options.decoded + 1e-6))
        values = self.vit.patch_size**2 * shape.channels
        if options.norm_pix and values == 1:
            raise UserError("mae.norm_pix: a patch of one value has no variance; take a larger patch_size, or false")
        self.decoder = Decoder(
            inputs=self.vit.width,
            width=options.decoder_width,
            depth=options.decoder_depth,
            heads=options.decoder_heads,
            grid=self.vit.grid,
            outputs=values,
            prefix=self.vit.prefix,
            mask_token=not options.mask_tokens_in_encoder,
        )
        self.mask_token = None
        if options.mask_tokens_in_encoder:
            self.mask_token = nn.Parameter(torch.zeros(1, 1, self.vit.width).normal_(std=0.02))

    def loss(self, images: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        patches = patchify(self.backbone.normalise(augment(images, self.policy, draws)), self.vit.patch_size)
        masking = self.sampler(draws, self.vit.grid, self.len_keep)
        ids_decoded = masking.ids_removed[:, : self.len_decoded]
        predicted = self.decoder(self.encode(patches, masking), masking.ids_keep, ids_decoded)
        target = take(patches, ids_decoded)
        if self.norm_pix:
            target = standardise(target)
        return (predicted.float() - target).square().mean(), {}  # every sample has as many removed patches

    def encode(self, patches: Tensor, masking: Masking) -> Tensor:
        """Latents of the class token and the visible patches, [N, 1 + len_keep, width], in the order of `ids_keep`.

        With mask tokens in the encoder those of the removed patches follow: [N, 1 + L, width]. A timm network without
        class token, or with registers, has 0 or more latents in the place of the 1.

        Args:
            patches: of normalised images, [N, L, patch * patch * C]; only the visible ones are read.
            masking: what is visible.
        """
        tokens = self.vit.patch_tokens(take(patches, masking.ids_keep), masking.ids_keep)
        if self.mask_token is not None:
            tokens = torch.cat([tokens, self.mask_token + self.vit.positions(masking.ids_removed)], dim=1)
        return self.vit.encode(tokens)

    @torch.no_grad()
    def preview(self, images: Tensor, draws: Draws) -> dict[str, Tensor]:
        """Removed patches are grey in the corrupted input; the reconstruction keeps the visible ones.

        All removed patches are reconstructed, whatever share of them the loss decodes.
        """
        pixels = self.backbone.normalise(augment(images, self.policy, draws))
        patches = patchify(pixels, self.vit.patch_size)
        masking = self.sampler(draws, self.vit.grid, self.len_keep)
        predicted = self.decoder(self.encode(patches, masking), *masking).float()
        visible, target = (take(patches, ids) for ids in masking)
        if self.norm_pix:  # back to pixels with the statistics that the target was standardised by
            var, mean = torch.var_mean(target, dim=2, keepdim=True)
            predicted = predicted * (var + EPSILON).sqrt() + mean
        pictures = {"input": pixels}
        for name, removed in (("corrupted", torch.zeros_like(target)), ("reconstruction", predicted)):
            restored = take(torch.cat([visible, removed], dim=1), masking.ids_restore)
            pictures[name] = unpatchify(restored, self.vit.patch_size, self.vit.grid)
        return {name: self.backbone.denormalise(picture).clamp(0, 1) for name, picture in pictures.items()}


class Decoder(nn.Module):
    """From latents of visible patches to the pixels of removed ones."""

    def __init__(
        self,
        *,
        inputs: int,
        width: int,
        depth: int,
        heads: int,
        grid: tuple[int, int],
        outputs: int,
        prefix: int = 1,
        mask_token: bool = True,
    ) -> None:
        super().__init__()
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.prefix = prefix
        self.embed = nn.Linear(inputs, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width)) if mask_token else None
        self.blocks = nn.Sequential(*(Block(width, heads, qkv_bias=True, norm_layer=norm) for _ in range(depth)))
        self.norm = norm(width)
        self.predict = nn.Linear(width, outputs)
        initialise(self)
        self.register_buffer("positions", sincos_positions(width, grid), persistent=False)

    def forward(self, latents: Tensor, ids_keep: Tensor, ids_decoded: Tensor) -> Tensor:
        """Predictions of the patches `ids_decoded`.

        Attention knows a token's place by its position alone, so the tokens stay in the order they come in.

        Args:
            latents: [N, prefix + len_keep, inputs]; where the encoder has seen mask tokens (the decoder then has none
                of its own) theirs follow, those of `ids_decoded` first.
            ids_keep: int64 [N, len_keep].
            ids_decoded: int64 [N, K].

        Returns:
            [N, K, outputs].
        """
        (count, decoded), length = ids_decoded.shape, self.prefix + ids_keep.shape[1]
        if self.mask_token is None:
            tokens = self.embed(latents[:, : length + decoded])
        else:
            tokens = torch.cat([self.embed(latents), self.mask_token.expand(count, decoded, -1)], dim=1)
        places = torch.cat([ids_keep.new_full((count, self.prefix), -1), ids_keep, ids_decoded], dim=1) + 1
        tokens = self.blocks(tokens + self.positions[0, places])  # place 0 is the class token's, zero
        return self.predict(self.norm(tokens[:, length:]))


def standardise(target: Tensor) -> Tensor:
    """Each patch by its own mean and (unbiased) variance; [N, L, pixels]."""
    var, mean = torch.var_mean(target, dim=2, keepdim=True)
    return (target - mean) / (var + EPSILON).sqrt()
