"""Any network of timm as an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm
import torch
from timm.models import load_state_dict
from torch import Tensor, nn

from bench.data.shape import ImageShape
from bench.errors import UserError, unknown
from bench.methods.feature_maps import Encoder, LayerInfo
from bench.study.encoders import TIMM_PREFIX, check_patch


class TimmEncoder(Encoder):
    """A timm network; layers stage1 .. stageN are its `feature_info`, one per block for vision transformers.

    Tokens pass through the final norm, where the network has one, at every layer.
    """

    def __init__(
        self,
        shape: ImageShape,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        name: str,
        patch_size: int | None = None,
        weights: str | None = None,
        pretrained: bool = False,
        key: str = "timm.weights",
    ) -> None:
        """Builds the network.

        Args:
            shape: of the images; a network with positions is resized to it.
            mean: of the normalisation, one per channel.
            std: of the normalisation, one per channel.
            name: timm's name of the network.
            patch_size: in pixels, for networks that can change it.
            weights: path of a weights file.
            pretrained: whether to download timm's weights.
            key: of the option that names the weights, for errors.

        Raises:
            UserError: timm has no such network, it does not fit the images, or its weights cannot be had.
        """
        backbone = create_network(name, shape, patch_size, weights, pretrained, key)
        layers = {
            f"stage{stage}": LayerInfo(info["num_chs"], info["reduction"])
            for stage, info in enumerate(backbone.feature_info, start=1)
        }
        super().__init__(
            backbone,
            shape,
            mean,
            std,
            layers=layers,
            default_layer=f"stage{len(layers)}",
            arguments={"name": name, "patch_size": patch_size},
        )

    def maps(self, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        names = list(self.layers)
        indices = sorted({names.index(name) for name in wanted})
        maps = self.backbone.forward_intermediates(
            images, indices=indices, norm=True, stop_early=True, output_fmt="NCHW", intermediates_only=True
        )
        return {names[index]: features for index, features in zip(indices, maps, strict=True)}

    def timm_arguments(self) -> dict[str, Any]:
        arguments = {"model_name": self.arguments["name"], "in_chans": self.shape.channels, "num_classes": 0}
        if hasattr(self.backbone, "set_input_size"):
            arguments["img_size"] = [self.shape.height, self.shape.width]
        if self.arguments["patch_size"] is not None:
            arguments["patch_size"] = self.arguments["patch_size"]
        return arguments


def create_network(
    name: str, shape: ImageShape, patch_size: int | None, weights: str | None, pretrained: bool, key: str
) -> nn.Module:
    """A headless timm network for this image shape, with the weights asked for. Errors as `TimmEncoder`.

    timm adapts the weights to the number of channels, and positions and patches to the image.
    """
    outline = create_outline(name)
    sizes: dict[str, Any] = {"in_chans": shape.channels}
    if hasattr(outline, "set_input_size"):
        sizes["img_size"] = (shape.height, shape.width)
    if patch_size is not None:
        if "img_size" not in sizes:
            raise UserError(f"patch_size: {name!r} cannot change its patches; leave patch_size out")
        check_patch("patch_size", patch_size, shape.height, shape.width)
        sizes["patch_size"] = patch_size
    overlay = {"state_dict": read_weights(outline, weights, key)} if weights else None
    try:
        network = timm.create_model(
            name, pretrained=pretrained or bool(weights), pretrained_cfg_overlay=overlay, num_classes=0, **sizes
        )
    except (AssertionError, RuntimeError, OSError) as error:
        if isinstance(error, AssertionError) or not (weights or pretrained):  # networks check sizes in many ways
            reason = " ".join(str(error).split()) or "it asserts another size"
            size = f"{shape.height} x {shape.width} pixels"
            raise UserError(f"encoder: {TIMM_PREFIX + name!r} cannot be built for {size}: {reason}") from error
        where, source = (key, f"the file {weights!r}") if weights else ("timm", "timm's hub")
        raise UserError(f"{where}: no weights for {name!r} from {source}: {str(error).strip()}") from error
    return network.to(memory_format=torch.channels_last)  # convolutions are quicker so, up to 1.7 times


def create_outline(name: str) -> nn.Module:
    """The headless network without memory for its weights. Raises UserError where timm has none of this name."""
    if not timm.is_model(name.split(".")[0]):
        raise unknown("timm network", name, timm.list_models(f"{name[:4]}*"), "encoder")
    with torch.device("meta"):
        return timm.create_model(name, num_classes=0)


def read_weights(outline: nn.Module, weights: str, key: str) -> dict[str, Tensor]:
    """The tensors of a weights file under timm's names; nothing is unpickled.

    Raises:
        UserError: the file cannot be read, or lacks a parameter of the network (which would stay random).
    """
    try:
        tensors = load_state_dict(weights, weights_only=True)
    except Exception as error:  # a foreign file fails in as many ways as there are formats
        raise UserError(f"{key}: cannot read {weights!r}: {error}") from error
    expected = [parameter for parameter, _ in outline.named_parameters()]
    lacking = [parameter for parameter in expected if parameter not in tensors]
    if lacking:
        raise UserError(
            f"{key}: {weights!r} lacks {len(lacking)} of the {len(expected)} parameters of the network, "
            f"{lacking[0]!r} to begin with"
        )
    return tensors


def published_normalisation(name: str, channels: int) -> tuple[list[float], list[float]]:
    """Mean and std [channels] that timm's weights of this name were trained with; averaged unless there are 3."""
    config = create_outline(name).pretrained_cfg
    mean, std = list(config["mean"]), list(config["std"])
    if channels == len(mean):
        return mean, std
    return [sum(mean) / len(mean)] * channels, [sum(std) / len(std)] * channels
