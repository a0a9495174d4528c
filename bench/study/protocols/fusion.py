"""Options of fusion with a partner encoder."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from bench.study.protocols.options import HeadOptions, ProtocolOptions

PARTNER_ONLY = "partner_only"  # the control of fusion: the same head on the partner's features alone


class FusionOptions(HeadOptions):
    """Fusion: the layer joined with a partner's features under one linear head (P2, arXiv 2410.19899, stage 2).

    The same head on the partner alone is always scored too: what the layer adds is the difference.
    """

    name: ClassVar[str] = "fusion"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "logistic regression on a layer joined with a partner encoder's features"
    cell_fields: ClassVar[frozenset[str]] = ProtocolOptions.cell_fields | {"fuse"}

    fuse: tuple[Literal["concat"], ...] = Field(default=("concat",), min_length=1, description="how the two are joined")
    partner: str = Field(
        default="pixels", description="'pixels', an encoder preset at random initialisation, or 'timm/NAME' pretrained"
    )
    partner_seed: int = Field(default=0, ge=0, description="names the initialisation of a preset partner")
