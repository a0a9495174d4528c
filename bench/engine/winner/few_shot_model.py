"""A few-shot winner as one network: queries and a support of new classes to probabilities of presence and of pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from bench.engine.winner.heads import HEAD
from bench.engine.winner.otsu import otsu
from bench.methods.attention import check_class_token
from bench.methods.encoder import Encoder
from bench.protocols.correlation import correlate, support_tokens
from bench.protocols.cst import Cst, Grid
from bench.protocols.few_shot_training import Thresholds
from bench.protocols.pseudo_masks import Enhancer, median, similarity, upsample
from bench.protocols.tokens import Tokens, attending, tokens_of

KIND = "cst"
PAIRS = 24  # of query and support image that are answered at once
_NETWORK, _ENHANCER = "network.", "enhancer."
_EDGE = 1e-7  # probabilities of 0 and 1 have no logit


@dataclass(frozen=True)
class Settings:
    """What rebuilds the head beside its tensors, and how it reads a support.

    Attributes:
        channels: of the correlation tokens.
        grid: rows and columns of query patches.
        support_grid: rows and columns of support patches.
        heads: of the encoder.
        supervision: image: pseudo masks of the support; mixed: masks of the enhancer; pixel: masks are handed in.
        attention: blocks whose similarities make pseudo masks, "last" or "all".
        similarity: "cosine" or "softmax".
        threshold: of the similarity, or "otsu".
        smoothing: side of the median filter of the similarity, in pixels.
    """

    channels: int
    grid: Grid
    support_grid: Grid
    heads: int
    supervision: Literal["image", "pixel", "mixed"]
    attention: Literal["last", "all"]
    similarity: Literal["cosine", "softmax"]
    threshold: float | Literal["otsu"]
    smoothing: int

    def card(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"kind": KIND, **asdict(self), "grid": list(self.grid), "support_grid": list(self.support_grid)}

    @classmethod
    def read(cls, card: Mapping[str, Any]) -> Settings:
        """What `card` made."""
        values = {name: value for name, value in card.items() if name != "kind"}
        grids = {name: (int(values[name][0]), int(values[name][1])) for name in ("grid", "support_grid")}
        return cls(**{**values, **grids})


class Support(NamedTuple):
    """Images that show a class: tokens, float32 [M, L, 1 + T_s, D], and where they show it, bool [M, H, W]."""

    tokens: Tensor
    masks: Tensor

    def repeated(self, times: int) -> Support:
        """All of them, so many times over."""
        return Support(*(part.repeat(times, *(1,) * (part.dim() - 1)) for part in self))

    def parts(self, size: int) -> Iterator[Support]:
        """So many at a time."""
        for tokens, masks in zip(self.tokens.split(size), self.masks.split(size), strict=True):
            yield Support(tokens, masks)


class FewShotModel(nn.Module):
    """Encoder, classification-segmentation transformer, what makes its support masks, thresholds and temperature.

    Attributes:
        thresholds: probabilities, as they are returned, above which a class is present, and from which a pixel is part
            of one.
        temperature: of presence alone.
    """

    def __init__(
        self,
        encoder: Encoder,
        network: Cst,
        settings: Settings,
        enhancer: Enhancer | None = None,
    ) -> None:
        super().__init__()
        check_class_token(encoder, "few_shot", str(encoder.arguments.get("name", type(encoder).__name__)))
        self.encoder, self.network, self.enhancer = encoder, network, enhancer
        self.settings, self.thresholds, self.temperature = settings, Thresholds(), 1.0
        self.attending = attending(encoder, settings.attention)

    @property
    def reads_masks(self) -> bool:
        """Whether the support comes with masks; else they are made here."""
        return self.settings.supervision == "pixel"

    def forward(self, query: Tensor, support: Tensor, support_masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Which of W new classes N images show, and where, from K images of each class.

        Args:
            query: float32 [N, C, H, W] in [0, 1].
            support: float32 [W, K, C, H, W] in [0, 1].
            support_masks: bool [W, K, H, W], true where a support image shows its class; read where `reads_masks`.

        Returns:
            Probabilities: of presence, calibrated, float32 [N, W]; and of each pixel, float32 [N, W, H, W].
        """
        ways, shots = support.shape[:2]
        masks = None if support_masks is None else support_masks.flatten(0, 1)
        form = (query.shape[0], ways, shots)  # len() of a tensor would be a constant where this is traced
        shown = self.support(self.tokens(support.flatten(0, 1)), masks)
        asked = repeated_each(self.tokens(query).blocks[:, :, 1:], ways * shots)
        presence, maps = self.pairs(asked, shown.repeated(form[0]))
        return self.calibrated(presence.view(form).mean(2)), maps.view(*form, *maps.shape[1:]).mean(2)

    def tokens(self, images: Tensor) -> Tokens:
        """Tokens of images, float32, rounded to half precision as those that the head was trained on."""
        return Tokens(*(part.float() for part in tokens_of(self.encoder, images, self.attending)))

    def support(self, tokens: Tokens, masks: Tensor | None) -> Support:
        """Support images by their tokens; their masks are made here unless they are handed in.

        Raises:
            ValueError: masks are needed and not there.
        """
        if self.reads_masks and masks is None:
            raise ValueError("masks of the support images are needed: the head learned from masks")
        shown = support_tokens(tokens.blocks, self.settings.grid, self.settings.support_grid)
        return Support(shown, masks if self.reads_masks and masks is not None else self.pseudo_masks(tokens))

    def pseudo_masks(self, tokens: Tokens) -> Tensor:
        """Where images show what their own class token is like, bool [M, H, W]: as `PairData.pseudo_masks`."""
        size = self.encoder.shape[1:]
        maps = similarity(tokens.queries, tokens.keys, self.settings.similarity).unflatten(2, self.settings.grid)
        if self.enhancer is not None:
            return self.enhancer.logits(maps, size) > 0
        smooth = median(upsample(maps.mean(dim=1, keepdim=True), size)[:, 0], self.settings.smoothing)
        fixed = self.settings.threshold
        return smooth > (otsu(smooth)[:, None, None] if fixed == "otsu" else fixed)

    def pairs(self, query: Tensor, support: Support) -> tuple[Tensor, Tensor]:
        """Probabilities of presence [P] and of each pixel [P, H, W] of pairs of query, [P, L, T, D], and support."""
        correlation = correlate(query, support.tokens, self.settings.heads)
        presence, maps = self.network(correlation, support.masks)
        maps = functional.interpolate(maps, self.encoder.shape[1:], mode="bilinear", align_corners=False)
        return presence.softmax(dim=1)[:, 1], maps.softmax(dim=1)[:, 1]

    def answers(self, query: Tensor, support: Support) -> tuple[Tensor, Tensor]:
        """The mean over the shots of one class, a few pairs at a time: [N] and [N, H, W]; presence not calibrated.

        Args:
            query: patch tokens of images, [N, L, T, D].
            support: images of the class.
        """
        each = max(1, PAIRS // max(1, len(query)))
        found = []
        for part in support.parts(each):
            count = len(part.masks)
            answered = self.pairs(repeated_each(query, count), part.repeated(len(query)))
            found.append([values.unflatten(0, (len(query), count)) for values in answered])
        presence, maps = (torch.cat(values, dim=1).mean(dim=1) for values in zip(*found, strict=True))
        return presence, maps

    def calibrated(self, presence: Tensor) -> Tensor:
        """Probabilities of presence behind the temperature, which keeps their order."""
        return torch.sigmoid(logits(presence) / self.temperature)


def repeated_each(tokens: Tensor, times: int) -> Tensor:
    """Each of [N, L, T, D] so many times, one behind the other; as `repeat_interleave`, which ONNX gets wrong."""
    return tokens.unsqueeze(1).expand(-1, times, -1, -1, -1).flatten(0, 1)


def logits(presence: Tensor) -> Tensor:
    """Log odds of probabilities of any shape; finite."""
    return presence.clamp(_EDGE, 1 - _EDGE).logit()


def save_few_shot(network: Cst, enhancer: Enhancer | None, folder: Path) -> None:
    """Writes the head, and the enhancer where there is one, to `head.safetensors` in the folder."""
    parts: Sequence[tuple[str, nn.Module | None]] = [(_NETWORK, network), (_ENHANCER, enhancer)]
    state = {mark + name: tensor for mark, part in parts if part for name, tensor in part.state_dict().items()}
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, folder / HEAD)


def load_few_shot(encoder: Encoder, settings: Settings, folder: Path) -> FewShotModel:
    """The network that `save_few_shot` wrote, behind its encoder, in evaluation mode; nothing is unpickled."""
    saved = load_file(folder / HEAD)
    with torch.random.fork_rng(devices=[]):  # initialised once more, and overwritten
        network = Cst(settings.channels, settings.grid, settings.support_grid)
        enhancer = Enhancer(settings.heads) if settings.supervision == "mixed" else None
    model = FewShotModel(encoder, network, settings, enhancer)
    wanted = {mark + name for mark in (_NETWORK, _ENHANCER) for name in _state(model, mark)}
    if wanted != set(saved):
        raise ValueError(f"{HEAD} holds other tensors than its head has")
    model.load_state_dict(saved, strict=False)
    return model.eval().requires_grad_(False)


def _state(model: FewShotModel, mark: str) -> dict[str, Tensor]:
    part = model.network if mark == _NETWORK else model.enhancer
    return {} if part is None else part.state_dict()
