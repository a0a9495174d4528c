"""Inside a vision transformer: the tokens behind its blocks and the attention of the last one, at any image size.

Every function takes images in [0, 1] and an encoder whose backbone is timm's VisionTransformer, which the vit presets
and the plain ViTs of timm are. Images may be smaller or larger than those the network was built for, as long as its
patches divide them: positions are interpolated, as for the local crops of DINO (arXiv 2104.14294).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from timm.layers import PatchEmbed
from timm.layers.attention import Attention
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bench.errors import UserError
from bench.methods.feature_maps import Encoder


class Tokens(NamedTuple):
    """What a transformer says of its images: the class token [N, D] and the patch tokens [N, L, D], row by row."""

    cls: Tensor
    patches: Tensor


class Qkv(NamedTuple):
    """Queries, keys and values of an attention, each [N, heads, T, d]; unscaled, behind the norms of query and key.

    The T tokens are the class token, the registers if the network has some, and the patches row by row.
    """

    q: Tensor
    k: Tensor
    v: Tensor

    def probabilities(self) -> Tensor:
        """How much each token attends to each other: softmax(q k' / sqrt(d)), [N, heads, T, T]."""
        return (self.q @ self.k.transpose(-2, -1) / self.q.shape[-1] ** 0.5).softmax(dim=-1)


def is_transformer(encoder: Encoder) -> bool:
    """Whether the encoder is a plain vision transformer, with or without a class token."""
    return isinstance(encoder.backbone, VisionTransformer) and isinstance(encoder.backbone.patch_embed, PatchEmbed)


def check_class_token(encoder: Encoder, key: str, name: str) -> None:
    """Raises UserError, naming the option and the encoder, unless it is a plain transformer with a class token."""
    if not is_transformer(encoder) or encoder.backbone.cls_token is None:
        raise UserError(
            f"{key}: {name!r} has no class token; valid: vit_nano, vit_tiny, vit_small, vit_base, vit_large, "
            "or a plain ViT of timm with one (timm/vit_small_patch16_224)"
        )


def embedded(encoder: Encoder, images: Tensor) -> Tensor:
    """The tokens that enter the first block, with their positions, [N, T, D]."""
    backbone = encoder.backbone
    maps = backbone.patch_embed.proj(encoder.normalise(images))  # not its forward, which insists on one size
    patches = backbone.patch_embed.norm(maps.flatten(2).transpose(1, 2))
    extra = [token for token in (backbone.cls_token, backbone.reg_token) if token is not None]
    prefix = [token.expand(images.shape[0], -1, -1) for token in extra]  # len() is a constant where this is traced
    if backbone.pos_embed is None:
        tokens = torch.cat([*prefix, patches], dim=1)
    else:
        bare = backbone.no_embed_class  # whether only the patches have positions
        positions = resample_abs_pos_embed(
            backbone.pos_embed,
            new_size=list(maps.shape[-2:]),
            old_size=list(backbone.patch_embed.grid_size),
            num_prefix_tokens=0 if bare else backbone.num_prefix_tokens,
        )
        tokens = torch.cat([*prefix, patches + positions if bare else patches], dim=1)
        tokens = tokens if bare else tokens + positions
    return backbone.norm_pre(backbone.pos_drop(tokens))


def block_tokens(encoder: Encoder, images: Tensor) -> list[Tensor]:
    """The tokens behind every block, each through the final norm: [N, 1 + L, D], the class token first.

    Registers are left out; without a class token the entries are [N, L, D].
    """
    tokens, behind = embedded(encoder, images), []
    for block in encoder.backbone.blocks:
        tokens = block(tokens)
        behind.append(_without_registers(encoder, encoder.backbone.norm(tokens)))
    return behind


def last_tokens(encoder: Encoder, images: Tensor) -> Tokens:
    """The tokens behind the last block and the final norm; of a network without a class token, `cls` is the patches'
    mean."""
    backbone = encoder.backbone
    tokens = _without_registers(encoder, backbone.norm(backbone.blocks(embedded(encoder, images))))
    if backbone.cls_token is None:
        return Tokens(tokens.mean(dim=1), tokens)
    return Tokens(tokens[:, 0], tokens[:, 1:])


def last_attention(encoder: Encoder, images: Tensor) -> Qkv:
    """Queries, keys and values of the last block.

    Raises:
        UserError: the last block attends in a way of its own.
    """
    blocks = encoder.backbone.blocks
    last, attention = blocks[-1], getattr(blocks[-1], "attn", None)
    if type(attention) is not Attention:
        raise UserError(f"encoder: the last block of {encoder.arguments} is no plain attention; take a plain ViT")
    entering = last.norm1(blocks[:-1](embedded(encoder, images)))
    count, tokens, _ = entering.shape
    parts = attention.qkv(entering).view(count, tokens, 3, attention.num_heads, attention.head_dim)
    q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
    return Qkv(attention.q_norm(q), attention.k_norm(k), v)


def cls_attention(encoder: Encoder, images: Tensor) -> Tensor:
    """How much the class token attends to each patch in the last block, [N, heads, rows, columns]."""
    patch = encoder.backbone.patch_embed.patch_size
    grid = (images.shape[-2] // patch[0], images.shape[-1] // patch[1])
    attention = last_attention(encoder, images).probabilities()
    return attention[:, :, 0, encoder.backbone.num_prefix_tokens :].unflatten(2, grid)


def pooled(encoder: Encoder, images: Tensor) -> Tensor:
    """The encoder's own vector [N, channels], the mean over its last map, of images that need not have its size."""
    return last_tokens(encoder, images).patches.mean(dim=1) if is_transformer(encoder) else encoder(images)


def _without_registers(encoder: Encoder, tokens: Tensor) -> Tensor:
    backbone = encoder.backbone
    classes = 0 if backbone.cls_token is None else 1
    if backbone.num_prefix_tokens == classes:
        return tokens
    return torch.cat([tokens[:, :classes], tokens[:, backbone.num_prefix_tokens :]], dim=1)
