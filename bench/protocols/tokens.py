"""Tokens and keys of images from a frozen transformer, kept in half precision as far as a quota goes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from timm.layers.attention import Attention
from torch import Tensor, nn

from bench.data.batches import to_float
from bench.errors import UserError
from bench.methods.attention import check_class_token, embedded
from bench.methods.encoder import Encoder

BATCH = 32


class Tokens(NamedTuple):
    """What a transformer says of N images, float16.

    Attributes:
        blocks: [N, L, 1 + T, D]: class and patch tokens behind every block, each through the final norm.
        queries: [N, A, heads, d]: the class token's queries in the A blocks whose attention is asked for.
        keys: [N, A, heads, T, d]: of the patches.
    """

    blocks: Tensor
    queries: Tensor
    keys: Tensor


class TokenStore:
    """Tokens of the images of a store by index.

    Attributes:
        heads: of the encoder.
        channels: blocks times heads.
        grid: rows and columns of patches.
        kept: number of images whose tokens are in memory.
    """

    def __init__(
        self, encoder: Encoder, images: np.ndarray, used: np.ndarray, attention: str, cache_gb: float, device: str
    ) -> None:
        """Encodes as many of the used images as fit.

        Args:
            encoder: a plain vision transformer with a class token.
            images: uint8 [N, H, W, C].
            used: int64, images that will be asked for.
            attention: "last" or "all": the blocks whose queries and keys are kept.
            cache_gb: memory for tokens.
            device: where the encoder runs and tokens are handed out.

        Raises:
            UserError: the encoder has no class token, or no plain attention.
        """
        check_class_token(encoder, "few_shot", str(encoder.arguments.get("name", type(encoder).__name__)))
        self.encoder, self.images, self.device = encoder.to(device).eval(), images, device
        blocks, patch = encoder.backbone.blocks, encoder.backbone.patch_embed.patch_size
        self.attending = attending(encoder, attention)
        for place in self.attending:
            if type(blocks[place].attn) is not Attention:
                raise UserError("few_shot: the encoder attends in a way of its own; valid: a plain ViT of timm")
        self.heads: int = blocks[-1].attn.num_heads
        self.channels = self.heads * len(blocks)
        self.grid = (images.shape[1] // patch[0], images.shape[2] // patch[1])
        self.place = np.full(len(images), -1)
        self._kept = self._fill(np.sort(used), int(cache_gb * 1e9))

    @property
    def kept(self) -> int:
        return int((self.place >= 0).sum())

    def __call__(self, indices: np.ndarray) -> Tokens:
        """Tokens of these images, float32, on the device."""
        distinct, inverse = np.unique(indices, return_inverse=True)
        lacking = np.flatnonzero(self.place[distinct] < 0)
        at_hand = np.flatnonzero(self.place[distinct] >= 0)
        order = torch.from_numpy(np.argsort(np.concatenate([at_hand, lacking]))[inverse.reshape(-1)])
        parts = [Tokens(*(part[self.place[distinct[at_hand]]] for part in self._kept))] if len(at_hand) else []
        parts += [self.encode(distinct[chunk]) for chunk in _chunks(lacking)]
        joined = (torch.cat(pieces)[order] for pieces in zip(*parts, strict=True))
        return Tokens(*(part.to(self.device).float() for part in joined))

    def _fill(self, used: np.ndarray, quota: int) -> Tokens:
        parts: list[Tokens] = []
        for chunk in _chunks(used):
            encoded = self.encode(chunk)
            size = sum(part[0].numel() * part.element_size() for part in encoded)
            fitting = min(len(chunk), quota // size)
            quota -= fitting * size
            self.place[chunk[:fitting]] = np.arange(fitting) + sum(len(part.blocks) for part in parts)
            parts.append(Tokens(*(part[:fitting] for part in encoded)))
            if fitting < len(chunk):
                break
        return Tokens(*(torch.cat(pieces) for pieces in zip(*parts, strict=True)))

    @torch.no_grad()
    def encode(self, indices: np.ndarray) -> Tokens:
        """Tokens of these images, float16, on the CPU."""
        images = to_float(self.images[indices], self.device)
        return Tokens(*(part.cpu() for part in tokens_of(self.encoder, images, self.attending)))


def attending(encoder: Encoder, attention: str) -> range:
    """The blocks whose queries and keys are read: "last" or "all"."""
    count = len(encoder.backbone.blocks)
    return range(count) if attention == "all" else range(count - 1, count)


def tokens_of(encoder: Encoder, images: Tensor, read: range) -> Tokens:
    """Tokens of images, float32 [N, C, H, W] in [0, 1]; queries and keys of some of the blocks."""
    backbone = encoder.backbone
    first = backbone.num_prefix_tokens
    tokens = embedded(encoder, images)
    behind, queries, keys = [], [], []
    for place, block in enumerate(backbone.blocks):
        if place in read:
            query, key = _query_and_key(block, tokens)
            queries.append(query[:, :, 0])
            keys.append(key[:, :, first:])
        tokens = block(tokens)
        normed = backbone.norm(tokens)
        behind.append(torch.cat([normed[:, :1], normed[:, first:]], dim=1))
    return Tokens(*(torch.stack(parts, dim=1).half() for parts in (behind, queries, keys)))


def _query_and_key(block: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """[N, heads, tokens, d] each."""
    attention = block.attn
    parts = attention.qkv(block.norm1(tokens)).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return attention.q_norm(parts[0]), attention.k_norm(parts[1])


def _chunks(indices: np.ndarray) -> list[np.ndarray]:
    return np.split(indices, range(BATCH, len(indices), BATCH)) if len(indices) else []
