"""Vision transformers: timm's VisionTransformer with the fixed positions and the initialisation of MAE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from bench.data.shape import ImageShape
from bench.methods.feature_maps import Encoder, LayerInfo

TIMM_NAME = "vit_tiny_patch16_224"  # any plain ViT of timm would do: every size is passed on top


class VitEncoder(Encoder):
    """A plain vision transformer on any number of channels and any image its patches divide.

    Layers block1 .. blockN: the patch tokens behind each block as a map, the last one behind the final norm.
    """

    backbone: VisionTransformer

    def __init__(
        self,
        shape: ImageShape,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        width: int,
        depth: int,
        heads: int,
        patch_size: int,
    ) -> None:
        backbone = VisionTransformer(
            img_size=(shape.height, shape.width),
            patch_size=patch_size,
            in_chans=shape.channels,
            num_classes=0,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
        )
        layers = {f"block{number}": LayerInfo(width, patch_size) for number in range(1, depth + 1)}
        arguments = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
        super().__init__(backbone, shape, mean, std, layers=layers, default_layer=f"block{depth}", arguments=arguments)
        self.patch_size = patch_size
        self.grid = (shape.height // patch_size, shape.width // patch_size)
        initialise(backbone)
        backbone.pos_embed = nn.Parameter(sincos_positions(width, self.grid), requires_grad=False)

    def patch_tokens(self, images: Tensor) -> Tensor:
        """Embedded patches with their positions, [N, L, width], of normalised images; the grid row by row."""
        return self.backbone.patch_embed(images) + self.backbone.pos_embed[:, 1:]

    def class_tokens(self, count: int) -> Tensor:
        """The class token with its position, once per image: [count, 1, width]."""
        return (self.backbone.cls_token + self.backbone.pos_embed[:, :1]).expand(count, -1, -1)

    def maps(self, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        tokens = torch.cat([self.class_tokens(images.shape[0]), self.patch_tokens(images)], dim=1)
        maps: dict[str, Tensor] = {}
        for name, block in zip(self.layers, self.backbone.blocks, strict=True):
            tokens = block(tokens)
            if name in wanted:
                maps[name] = self._as_map(self.backbone.norm(tokens) if name == self.default_layer else tokens)
            if len(maps) == len(set(wanted)):
                break
        return maps

    def _as_map(self, tokens: Tensor) -> Tensor:
        return tokens[:, 1:].transpose(1, 2).unflatten(2, self.grid)

    def timm_arguments(self) -> dict[str, Any]:
        return {
            "model_name": TIMM_NAME,
            "img_size": [self.shape.height, self.shape.width],
            "patch_size": self.patch_size,
            "in_chans": self.shape.channels,
            "num_classes": 0,
            "embed_dim": self.arguments["width"],
            "depth": self.arguments["depth"],
            "num_heads": self.arguments["heads"],
        }


def initialise(module: nn.Module) -> None:
    """MAE's initialisation of everything inside: xavier-uniform linear layers and patch embedding, zero biases.

    The patch embedding counts as a linear layer on flattened patches; class and mask tokens are normal(0, 0.02).
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(part.weight.data.flatten(1))
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for name, parameter in module.named_parameters():
        if name.endswith(("cls_token", "mask_token")):
            nn.init.normal_(parameter, std=0.02)


def sincos_positions(width: int, grid: tuple[int, int]) -> Tensor:
    """Fixed 2-D sine-cosine positions, [1, 1 + rows * columns, width]; the class token's are zero.

    The first half of the channels encodes the column, the second the row, each as [sin | cos] of the place times
    10000^(-4i / width), i < width / 4.
    """
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in grid)
    row, column = torch.meshgrid(rows, columns, indexing="ij")
    omega = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = [place.reshape(-1, 1) * omega for place in (column, row)]
    patches = torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)
    return torch.cat([torch.zeros(1, width), patches.float()]).unsqueeze(0)
