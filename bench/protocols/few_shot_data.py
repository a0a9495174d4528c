"""Pairs of query and support image as tensors: correlation tokens, support masks, targets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bench.data.raw import IGNORE
from bench.protocols.correlation import correlate, support_tokens
from bench.protocols.pseudo_masks import Enhancer, similarity, threshold, upsample
from bench.protocols.tokens import TokenStore
from bench.study.protocols import FewShotOptions

EXCLUDED = -100  # target of a pixel that counts nowhere, the one torch's losses pass over


@dataclass(frozen=True)
class PairData:
    """What is known of images under a supervision.

    Attributes:
        tokens: of the images.
        masks: uint8 [N, H, W], class of each pixel.
        histograms: int64 [N, K], which stand for the image-level labels.
        known: bool [N], images whose masks may be looked at.
        options: of the protocol.
        hidden: classes whose pixels count nowhere, e.g. the novel ones while the base ones are learned.
        enhancer: makes the masks of the others; None: the plain threshold.
    """

    tokens: TokenStore
    masks: np.ndarray
    histograms: np.ndarray
    known: np.ndarray
    options: FewShotOptions
    hidden: tuple[int, ...] = ()
    enhancer: Enhancer | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a mask."""
        return self.masks.shape[1], self.masks.shape[2]

    @property
    def support_grid(self) -> tuple[int, int]:
        """Rows and columns of support tokens."""
        rows, columns = self.tokens.grid
        return min(rows, self.options.support_grid), min(columns, self.options.support_grid)

    def with_all_masks(self) -> PairData:
        """The same, all masks known: what a test is scored against."""
        return replace(self, known=np.ones_like(self.known))

    @torch.no_grad()
    def correlation(self, query: np.ndarray, support: np.ndarray) -> Tensor:
        """Correlation tokens of pairs of images [M]: float32 [M, channels, T_q, T_s]."""
        asked, shown = self.tokens(query).blocks[:, :, 1:], self.tokens(support).blocks
        return correlate(asked, support_tokens(shown, self.tokens.grid, self.support_grid), self.tokens.heads)

    def support_masks(self, support: np.ndarray, labels: np.ndarray) -> Tensor:
        """Where support images show their class: bool [M, H, W]; true where known, pseudo masks elsewhere."""
        return self._masks(support, labels, support)[0]

    def targets(self, query: np.ndarray, labels: np.ndarray, support: np.ndarray) -> Tensor:
        """What the query should be called: int64 [M, H, W], 1 the class, 0 not, EXCLUDED for pixels not to count.

        The pseudo mask of a query is empty where its image-level label says that the class is absent.
        """
        marker = support if self.options.pseudo_query == "support" else query
        masks, void = self._masks(query, labels, marker)
        return masks.long().masked_fill_(void, EXCLUDED)

    def similarities(self, marker: np.ndarray, images: np.ndarray) -> Tensor:
        """How much the patches of images are like the class tokens of others: [M, heads, rows, columns]."""
        maps = similarity(self.tokens(marker).queries, self.tokens(images).keys, self.options.pseudo_similarity)
        return maps.unflatten(2, self.tokens.grid)

    @torch.no_grad()
    def pseudo_masks(self, marker: np.ndarray, images: np.ndarray) -> Tensor:
        """Masks of images, without their labels: bool [M, H, W]."""
        maps = self.similarities(marker, images)
        if self.enhancer is not None:
            return self.enhancer.logits(maps, self.size) > 0
        return threshold(upsample(maps.mean(dim=1, keepdim=True), self.size)[:, 0], self.options)

    def true_masks(self, images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
        """Where images show a class, and which pixels do not count: bool [M, H, W] each."""
        masks = self.masks[images]
        void = np.isin(masks, [IGNORE, *self.hidden]) & (self.options.ignore == "excluded")
        inside = masks == labels[:, None, None]
        device = self.tokens.device
        return torch.from_numpy(inside).to(device), torch.from_numpy(void).to(device)

    def _masks(self, images: np.ndarray, labels: np.ndarray, marker: np.ndarray) -> tuple[Tensor, Tensor]:
        masks = torch.zeros((len(images), *self.size), dtype=torch.bool, device=self.tokens.device)
        void = torch.zeros_like(masks)
        known = np.flatnonzero(self.known[images])
        guessed = np.flatnonzero(~self.known[images] & (self.histograms[images, labels] > 0))
        if len(known):
            masks[known], void[known] = self.true_masks(images[known], labels[known])
        if len(guessed):
            masks[guessed] = self.pseudo_masks(marker[guessed], images[guessed])
        return masks, void
