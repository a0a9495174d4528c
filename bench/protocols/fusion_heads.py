"""Joint heads: what a layer's features and a partner's become before the classes, and the classifier on top.

Every head reads positions x channels: [N, T, D] of the partner and [N, S, E] of the layer, one position each unless it
attends. A head without a layer (the control "partner_only") has the same form with the layer's part left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.study.protocols.fusion import Fuse

MLP = (512, 64)  # hidden widths of the published classifier, arXiv 2410.19899
ATTENTION_HEADS = 4


class Concat(nn.Module):
    """Both vectors side by side, the layer's first as published; [N, E + D]."""

    def __init__(self, partner: int, layer: int) -> None:
        super().__init__()
        self.out_features = partner + layer

    def forward(self, partner: Tensor, layer: Tensor | None) -> Tensor:
        parts = [partner] if layer is None else [layer, partner]
        return torch.cat([part.mean(1) for part in parts], 1)


class Gated(nn.Module):
    """Gated multimodal unit (Arevalo et al., arXiv 1702.01992, eq. 1): z * tanh(A a) + (1 - z) * tanh(B b), [N, width].

    The gate z is a sigmoid of both vectors, one for each channel. Without a layer: tanh(A a).
    """

    def __init__(self, partner: int, layer: int, width: int) -> None:
        super().__init__()
        self.out_features = width
        self.partner = nn.Linear(partner, width)
        self.layer = nn.Linear(layer, width) if layer else None
        self.gate = nn.Linear(partner + layer, width) if layer else None

    def forward(self, partner: Tensor, layer: Tensor | None) -> Tensor:
        vector = partner.mean(1)
        ours = torch.tanh(self.partner(vector))
        if self.layer is None or self.gate is None or layer is None:
            return ours
        other = layer.mean(1)
        gate = torch.sigmoid(self.gate(torch.cat([vector, other], 1)))
        return gate * ours + (1 - gate) * torch.tanh(self.layer(other))


class CrossAttention(nn.Module):
    """The partner's positions attend to the layer's (Vaswani et al., arXiv 1706.03762, section 3.2), [N, width].

    Scaled dot-product attention with several heads, a residual connection, a norm, then the mean over the positions.
    There are no positional codes: the layer's positions are a set. Without a layer nothing is attended to.
    """

    def __init__(self, partner: int, layer: int, width: int) -> None:
        super().__init__()
        self.out_features = width
        self.partner = nn.Linear(partner, width)
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width) if layer else None
        self.key = nn.Linear(layer, width) if layer else None
        self.value = nn.Linear(layer, width) if layer else None
        self.out = nn.Linear(width, width) if layer else None

    def forward(self, partner: Tensor, layer: Tensor | None) -> Tensor:
        tokens = self.partner(partner)
        if layer is not None and self.query and self.key and self.value and self.out:
            split = (_split(self.query(tokens)), _split(self.key(layer)), _split(self.value(layer)))
            attended = functional.scaled_dot_product_attention(*split)
            tokens = tokens + self.out(attended.transpose(1, 2).flatten(2))
        return self.norm(tokens).mean(1)


class JointHead(nn.Module):
    """A join and the classifier on it."""

    def __init__(self, join: Concat | Gated | CrossAttention, classifier: nn.Module) -> None:
        super().__init__()
        self.join = join
        self.classifier = classifier

    def forward(self, partner: Tensor, layer: Tensor | None) -> Tensor:
        """Logits [N, K] of [N, T, D] and [N, S, E]."""
        return self.classifier(self.join(partner, layer))


def build_head(fuse: Fuse, head: str, partner: int, layer: int, width: int, n_classes: int) -> JointHead:
    """A joint head, initialised from torch's global generator: seed and fork around it.

    Args:
        fuse: how the two are joined.
        head: "linear" or "mlp".
        partner: channels D of the partner.
        layer: channels E of the layer; 0 for the partner alone.
        width: channels that gate and attention work in.
        n_classes: K.
    """
    joins = {"concat": lambda: Concat(partner, layer)}
    joins["gated"] = lambda: Gated(partner, layer, width)
    joins["cross_attention"] = lambda: CrossAttention(partner, layer, width)
    join = joins[fuse]()
    return JointHead(join, _classifier(head, join.out_features, n_classes))


def _classifier(head: str, inputs: int, n_classes: int) -> nn.Module:
    if head == "linear":
        return nn.Linear(inputs, n_classes)
    widths = (inputs, *MLP)
    hidden = [part for i, o in zip(widths, MLP, strict=False) for part in (nn.Linear(i, o), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(MLP[-1], n_classes))


def _split(tokens: Tensor) -> Tensor:
    """[N, T, width] -> [N, heads, T, width / heads]."""
    return tokens.unflatten(2, (ATTENTION_HEADS, -1)).transpose(1, 2)
