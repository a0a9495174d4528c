"""The classification-segmentation transformer: is the class in the query, and which pixels are it.

arXiv 2307.03407, section 4.3, and its published sizes: 366,004 parameters on the 72 channels of a ViT-S.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PUBLISHED_CHANNELS, PUBLISHED_PARAMETERS = 72, 366_004
WIDTHS = (32, 128)
HEADS, GROUPS = 8, 4
Grid = tuple[int, int]


class Cst(nn.Module):
    """Two blocks that squeeze the support axis to a class and a mask token, and a head on each of them."""

    def __init__(self, channels: int, query_grid: Grid, support_grid: Grid) -> None:
        """Builds it; the weights come from torch's global generator.

        Args:
            channels: of the correlation tokens: blocks times heads of the encoder.
            query_grid: rows and columns of query patches.
            support_grid: rows and columns of support patches; squeezed to a quarter of them, then to one.
        """
        super().__init__()
        self.query_grid = query_grid
        self.grids = (support_grid, squeezed(support_grid), (1, 1))
        widths = (channels, *WIDTHS)
        self.blocks = nn.ModuleList(SupportBlock(*widths[number : number + 2]) for number in range(2))
        self.linear = nn.Sequential(*(part for _ in range(2) for part in _pointwise(WIDTHS[-1])))
        self.presence = nn.Sequential(
            Pointwise(128, 128), nn.ReLU(), Pointwise(128, 64), nn.ReLU(),
            nn.AvgPool2d(3, stride=2, padding=1), Pointwise(64, 64), nn.ReLU(), Pointwise(64, 2),
        )  # fmt: skip
        self.mask = nn.Sequential(
            nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 64, 3, padding=1), nn.ReLU(),
            nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(),
            nn.Conv2d(64, 2, 3, padding=1),
        )  # fmt: skip
        for place in range(2):
            self.register_buffer(f"pool{place}", pooling(*self.grids[place : place + 2]), persistent=False)

    def forward(self, correlation: Tensor, support_masks: Tensor) -> tuple[Tensor, Tensor]:
        """Two-way logits (absent or background first) of whether and where the query shows the support's class.

        Args:
            correlation: [N, channels, T_q, T_s], of `bench.protocols.correlation.correlate`.
            support_masks: bool [N, H, W], where the support images show the class.

        Returns:
            [N, 2], and [N, 2, 2 * rows, 2 * columns] of the query's grid.
        """
        tokens = self.squeeze(correlation, support_masks)[-1]
        maps = self.linear(tokens).unflatten(2, self.query_grid)
        marked = maps[..., 1].contiguous(memory_format=torch.channels_last)
        return self.presence(maps[..., 0]).mean(dim=(2, 3)), self.mask(marked)

    def squeeze(self, correlation: Tensor, support_masks: Tensor) -> list[Tensor]:
        """The tokens that enter and leave each block, [N, channels, T_q, T_s]; T_s is 145, 10 and 2 as published."""
        states = [correlation]
        for place, block in enumerate(self.blocks):
            states.append(block(states[-1], attended(support_masks, self.grids[place]), getattr(self, f"pool{place}")))
        return states


class Pointwise(nn.Conv2d):
    """A 1 x 1 convolution, as one matrix product over all tokens; its result lies in memory with the channels last."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, T_q, T] -> [N, outputs, T_q, T]."""
        return functional.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class SupportBlock(nn.Module):
    """Attention over the support tokens, for each query token by itself, and a feed-forward network.

    Convolutions in front of a norm have no bias but the first of the feed-forward network: what the published number of
    parameters says. Pooling and a bias-free 1 x 1 convolution commute, so that queries and short cut pool first.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        hidden = width // 2
        self.query, self.key, self.value = (Pointwise(channels, hidden, bias=False) for _ in range(3))
        self.shortcut = nn.Sequential(Pointwise(channels, width, bias=False), nn.GroupNorm(GROUPS, width), nn.ReLU())
        self.mix = nn.Sequential(
            nn.GroupNorm(GROUPS, hidden), nn.ReLU(), Pointwise(hidden, width, bias=False),
            nn.GroupNorm(GROUPS, width), nn.ReLU(),
        )  # fmt: skip
        self.norm = nn.GroupNorm(GROUPS, width)
        self.feed = nn.Sequential(
            Pointwise(width, hidden), nn.GroupNorm(GROUPS, hidden), nn.ReLU(), Pointwise(hidden, width)
        )
        self.feed_norm = nn.GroupNorm(GROUPS, width)

    def forward(self, x: Tensor, seen: Tensor, pool: Tensor) -> Tensor:
        """Fewer support tokens: [N, C, T_q, T_in] -> [N, width, T_q, T_out].

        Args:
            x: tokens.
            seen: bool [N, T_in], the support tokens that may be attended to.
            pool: float [T_in, T_out].
        """
        pooled = x @ pool
        y = self.norm(self.mix(self.attend(x, pooled, seen)) + self.shortcut(pooled))
        return self.feed_norm(y + self.feed(y))

    def attend(self, x: Tensor, pooled: Tensor, seen: Tensor) -> Tensor:
        """Values of the support tokens that pooled tokens attend to, [N, hidden, T_q, T_out]; no 1 / sqrt(d).

        Keys and values of the support tokens are never made, as q' (K x) = (q' K) x and sum(w V x) = V sum(w x): all
        heads and pooled tokens of a query token read its support tokens in one product.
        """
        x, seen = visible(x, seen)
        heads = (HEADS, -1, x.shape[1])
        key, value = self.key.weight.view(heads), self.value.weight.view(heads)
        query = self.query(pooled).permute(0, 2, 3, 1).unflatten(3, (HEADS, -1))  # [N, T_q, T_out, heads, d]
        asked = torch.einsum("nqohd,hdc->nqohc", query, key)
        tokens = x.transpose(1, 2).flatten(0, 1)  # [N * T_q, C, T]: a query token's attention is its own affair
        barred = torch.zeros_like(seen, dtype=x.dtype).masked_fill_(~seen, -torch.inf)
        barred = barred.repeat_interleave(x.shape[2], dim=0).unsqueeze(1)
        weights = torch.baddbmm(barred, asked.flatten(0, 1).flatten(1, 2), tokens).softmax(dim=2)
        mixed = torch.einsum("nqohc,hdc->nqohd", (weights @ tokens.transpose(1, 2)).view(asked.shape), value)
        return mixed.flatten(3).permute(0, 3, 1, 2)


def visible(x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """The support tokens without those that no query may attend to: [N, C, T_q, T] and bool [N, T] with a smaller T.

    As many are left as the sample with the most of them sees, which come first in every sample. All of them where the
    network is traced: how many there are is not known then, and those that are barred have no weight.
    """
    if torch.compiler.is_exporting():
        return x, seen
    most = int(seen.sum(dim=1).max())
    if most == seen.shape[1]:
        return x, seen
    order = seen.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
    return x.gather(3, order[:, None, None].expand(-1, *x.shape[1:3], -1)), seen.gather(1, order)


def pooling(grid: Grid, size: Grid) -> Tensor:
    """The matrix [1 + T_in, 1 + T_out] that averages patches of `grid` to `size` and leaves the class token alone."""
    cells = grid[0] * grid[1]
    averages = functional.adaptive_avg_pool2d(torch.eye(cells, device="cpu").view(cells, 1, *grid), size).flatten(1)
    return torch.block_diag(torch.ones(1, 1, device="cpu"), averages)


def squeezed(grid: Grid) -> Grid:
    """The grid behind the first block: windows of 4 x 4 where they fit (12 x 12 -> 3 x 3, as published)."""
    return max(1, round(grid[0] / 4)), max(1, round(grid[1] / 4))


def attended(masks: Tensor, grid: Grid) -> Tensor:
    """The support tokens a block may attend to, bool [N, 1 + T]: the class token, and every cell with a pixel of the
    class, so that small objects do not vanish."""
    cells = functional.adaptive_max_pool2d(masks[:, None].float(), grid).flatten(1) > 0
    return functional.pad(cells, (1, 0), value=True)


def _pointwise(width: int) -> tuple[nn.Module, ...]:
    return Pointwise(width, width), nn.GroupNorm(GROUPS, width), nn.ReLU()
