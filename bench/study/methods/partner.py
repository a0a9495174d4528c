"""Options of the partner of a fusion as an entrant of its own: what carries the controls."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.study.encoders import family, is_timm
from bench.study.methods.options import MethodOptions

PIXELS = "pixels"


class PartnerOptions(MethodOptions):
    """The partner of a fusion entry, without the layer it is fused with. The plan adds it; a study does not name it."""

    name: ClassVar[str] = "partner"
    version: ClassVar[int] = 1
    trains: ClassVar[bool] = False
    seeded: ClassVar[bool] = False
    paper: ClassVar[str] = "Kancharla and Kaveti, U-Net masked autoencoder with EfficientNet-B7, arXiv 2410.19899"

    encoder: str = Field(
        "conv_nano", description="'pixels', an encoder preset, or 'timm/NAME' with timm's weights for that name"
    )
    init_seed: int = Field(0, ge=0, description="names the initialisation of a preset without weights")
    weights: str | None = Field(None, description="path of a weights file; of a preset: encoder.safetensors kept here")

    @property
    def deterministic(self) -> bool:
        """Whether there is only one such partner, whatever the seed."""
        return self.encoder == PIXELS or is_timm(self.encoder) or self.weights is not None

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.encoder != PIXELS:
            family(self.encoder, key=f"{self.name}.encoder")
        elif self.weights is not None:
            raise UserError(f"{self.name}.weights: {self.weights!r} is set, but raw pixels have no weights")
        return self
