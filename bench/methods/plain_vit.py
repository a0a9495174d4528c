"""A plain vision transformer taken apart between its patch embedding and its blocks, whoever built it."""

from __future__ import annotations

import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from bench.errors import UserError
from bench.methods.feature_maps import Encoder
from bench.methods.patches import take
from bench.study.encoders import TIMM_PREFIX, check_patch

PREFIX = ("cls_token", "dist_token", "reg_token")  # in the order in which timm puts them before the patches


class PlainVit:
    """The parts of an encoder's network that a method runs on a choice of patches; the weights are the encoder's.

    Attributes:
        patch_size: pixels.
        grid: patches down and across.
        width: channels of a token.
        prefix: tokens before the patches: class and register tokens, none in some networks.
    """

    def __init__(self, encoder: Encoder, method: str) -> None:
        """Looks at the encoder's network.

        Args:
            encoder: a preset of the family vit, or a timm network.
            method: name of the method, for the message.

        Raises:
            UserError: the network is no plain vision transformer, or its patches do not divide the image.
        """
        self.backbone = _plain(encoder.backbone, str(encoder.arguments.get("name", "")), method)
        height, width = encoder.shape.height, encoder.shape.width
        self.patch_size: int = self.backbone.patch_embed.patch_size[0]
        check_patch(f"{method}.patch_size", self.patch_size, height, width)
        self.grid = (height // self.patch_size, width // self.patch_size)
        self.width: int = self.backbone.embed_dim
        self.prefix: int = self.backbone.num_prefix_tokens

    def patch_tokens(self, pixels: Tensor, ids: Tensor) -> Tensor:
        """Embedded patches with their positions.

        Args:
            pixels: of the patches `ids`, normalised and flattened channel last, [N, K, patch * patch * C].
            ids: int64 [N, K].

        Returns:
            [N, K, width].
        """
        convolution = self.backbone.patch_embed.proj  # of stride patch: a linear layer on flattened patches
        weight = convolution.weight.permute(0, 2, 3, 1).flatten(1)
        return self.backbone.patch_embed.norm(functional.linear(pixels, weight, convolution.bias)) + self.positions(ids)

    def positions(self, ids: Tensor) -> Tensor:
        """Positions of the patches, [N, K] -> [N, K, width]; zero where the network has none."""
        positions = self.backbone.pos_embed
        if positions is None:
            return torch.zeros(1, 1, self.width, device=ids.device)
        patches = positions[:, positions.shape[1] - self.grid[0] * self.grid[1] :]
        return take(patches.expand(len(ids), -1, -1), ids)

    def prefix_tokens(self, count: int) -> Tensor:
        """Class and register tokens with their positions, once per image: [count, prefix, width]."""
        present = [token for name in PREFIX if (token := getattr(self.backbone, name, None)) is not None]
        if not present:
            return torch.zeros(count, 0, self.width, device=self.backbone.patch_embed.proj.weight.device)
        tokens = torch.cat(present, dim=1)
        if self.backbone.pos_embed is not None and not self.backbone.no_embed_class:
            tokens = tokens + self.backbone.pos_embed[:, : self.prefix]
        return tokens.expand(count, -1, -1)

    def encode(self, patches: Tensor) -> Tensor:
        """Latents of the prefix and of K patch tokens, behind the final norm: [N, K, D] -> [N, prefix + K, D]."""
        tokens = self.backbone.norm_pre(torch.cat([self.prefix_tokens(len(patches)), patches], dim=1))
        return self.backbone.norm(self.backbone.blocks(tokens))


def _plain(network: nn.Module, name: str, method: str) -> VisionTransformer:
    if isinstance(network, VisionTransformer) and type(network.patch_embed) is PatchEmbed:
        return network
    raise UserError(
        f"{method}.encoder: {TIMM_PREFIX + name!r} ({type(network).__name__}) is no plain vision transformer: {method} "
        "needs patches that are embedded one by one, positions added to them, and blocks of tokens, "
        "as in timm/vit_small_patch16_224"
    )
