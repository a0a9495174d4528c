"""The partner of a fusion: raw pixels, a preset, or a timm network with its weights (the method `partner`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.base import Untrained
from bench.methods.encoder import build_encoder
from bench.methods.feature_maps import Encoder
from bench.methods.pixels import PixelsEncoder
from bench.methods.timm_encoder import TimmEncoder, published_normalisation
from bench.seeds import named_seed
from bench.study.encoders import TIMM_PREFIX, is_timm
from bench.study.methods.partner import PIXELS, PartnerOptions


class Partner(Untrained):
    """An encoder that is not pretrained here, initialised by the seed its options name, whatever the pretraining's."""

    def __init__(self, options: PartnerOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(build_partner(options, shape, mean, std))


def build_partner(options: PartnerOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]) -> Encoder:
    """The partner's encoder.

    Args:
        options: which one.
        shape: of the images.
        mean: of the train pool, one per channel; a timm network is normalised as its weights were trained.
        std: of the train pool, one per channel.

    Raises:
        UserError: its weights cannot be had; the message names the network and how to give a file.
    """
    if options.encoder == PIXELS:
        return PixelsEncoder(shape, mean, std)
    if is_timm(options.encoder):
        return _published(options, shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(named_seed("partner", options.encoder, options.init_seed))
        encoder = build_encoder(options.encoder, shape, mean, std)
    return encoder if options.weights is None else _load(encoder, options.weights)


def _published(options: PartnerOptions, shape: ImageShape) -> Encoder:
    name = options.encoder.removeprefix(TIMM_PREFIX)
    weights = options.weights and str(Path(options.weights).expanduser())
    try:
        normalisation = published_normalisation(name, shape.channels)
        return TimmEncoder(
            shape,
            *normalisation,
            name=name,
            weights=weights,
            pretrained=weights is None,
            key="fusion.partner_weights",
        )
    except UserError as error:
        if weights is not None:
            raise
        reason = " ".join(str(error.__cause__ or error).split()).split(". ")[0]
        raise UserError(
            f"fusion.partner: the weights of {options.encoder!r} could not be downloaded ({reason}); give a file with "
            "partner_weights: PATH"
        ) from error


def _load(encoder: Encoder, weights: str) -> Encoder:
    """The preset with the weights that `save_encoder` wrote for the same preset and image shape."""
    try:
        encoder.backbone.load_state_dict(load_file(Path(weights).expanduser()))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"fusion.partner_weights: {weights!r} does not fit the partner: {reason}") from error
    return encoder
