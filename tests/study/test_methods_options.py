"""The options of the methods: what a plan can say without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.errors import UserError
from bench.study.encoders import (
    ENCODERS,
    check_levels,
    check_patch,
    common_divisor_near,
    layer_names,
    resolve_layer,
    resolve_patch,
)
from bench.study.methods import METHODS, MethodOptions, RandomInitOptions, promoted, resolve_precision, weights_digest

REQUIRED = {"timm": {"encoder": "timm/resnet18", "pretrained": True}}


def default(name: str) -> MethodOptions:
    return METHODS[name](**REQUIRED.get(name, {}))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is(name: str) -> None:
    options = METHODS[name]
    assert options.name == name
    assert options.version >= 1
    assert options.__doc__
    assert options.paper
    assert all(field.description for field in options.model_fields.values())
    assert default(name).encoder_name


@pytest.mark.parametrize("name", METHODS)
def test_options_survive_json(name: str) -> None:
    options = default(name)
    assert METHODS[name].model_validate_json(options.model_dump_json()) == options


@pytest.mark.parametrize("name", METHODS)
def test_an_option_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="mask_ration"):
        METHODS[name](**REQUIRED.get(name, {}), mask_ration=0.5)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mae", {"mask_ratio": 0.0}),
        ("mae", {"mask_ratio": 1.0}),
        ("mae", {"lr": 0.0}),
        ("mae", {"lr": float("inf")}),
        ("mae", {"epochs": 0}),
        ("unet_denoise", {"sigma": -0.1}),
        ("unet_denoise", {"noise": "salt"}),
        ("unet_mixed", {"mask_ratio": 1.0}),
        ("simclr", {"temperature": 0.0}),
        ("simclr", {"precision": "fp16"}),
        ("pixels", {"size": 0}),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, values: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        METHODS[name](**values)


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        (
            "mae",
            {"encoder": "vit_nan"},
            r"mae\.encoder: unknown encoder 'vit_nan' \(did you mean 'vit_nano'\?\).*timm/",
        ),
        ("mae", {"encoder": "conv_nano"}, "is a conv network; mae takes vit"),
        ("simclr", {"encoder": "unet_nano"}, "takes conv or vit or timm"),
        ("timm", {"encoder": "resnet18"}, "timm/NAME"),
        ("timm", {"encoder": "timm/resnet18"}, "exactly one"),
        ("simclr", {"patch_size": 2}, "has no patches"),
        ("mae", {"encoder": "unet/resnet18"}, "is a unet network; mae takes vit"),
        ("unet_mixed", {"encoder": "unet/"}, r"unknown encoder 'unet/'.*unet/NAME"),
        ("unet_masked", {"encoder": "unet/resnet18", "skip": False}, r"unet_masked\.skip: false.*valid: true"),
        ("random_init", {"encoder": "unet/resnet18", "skip": False}, r"random_init\.skip: false"),
        ("mae", {"decoder_width": 36, "decoder_heads": 5}, "5 does not divide"),
    ],
)
def test_a_choice_that_does_not_fit_is_an_error_that_says_why(name: str, values: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        METHODS[name](**values)


def test_precision_follows_the_resources_unless_it_is_said() -> None:
    auto = METHODS["mae"]()
    assert resolve_precision(auto, gpus=0).precision == "fp32"
    assert resolve_precision(auto, gpus=2).precision == "bf16"
    said = METHODS["mae"](precision="fp32")
    assert resolve_precision(said, gpus=2) is said
    assert resolve_precision(default("pixels"), gpus=2) == default("pixels")


def test_promoted_axes() -> None:
    assert promoted(METHODS["mae"](mask_ratio=0.3)) == {"mask_ratio": 0.3, "noise_level": None}
    assert promoted(METHODS["unet_denoise"](sigma=0.2)) == {"mask_ratio": None, "noise_level": 0.2}
    mixed = METHODS["unet_mixed"](mask_ratio=0.5, sigma=0.51, noise="uint8")
    assert promoted(mixed) == {"mask_ratio": 0.5, "noise_level": pytest.approx(0.002)}  # grey levels to [0, 1]
    assert promoted(default("pixels")) == {"mask_ratio": None, "noise_level": None}


def test_the_digest_follows_the_content_of_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    options = METHODS["timm"](encoder="timm/resnet18", weights=str(path))
    with pytest.raises(UserError, match=r"timm\.weights: there is no file"):
        weights_digest(options)
    path.write_bytes(b"one")
    first = weights_digest(options)
    path.write_bytes(b"two")
    assert first != weights_digest(options)
    assert weights_digest(default("pixels")) is None


@pytest.mark.parametrize(
    ("encoder", "height", "width", "patch"),
    [
        ("vit_nano", 8, 8, 2),
        ("vit_nano", 28, 28, 7),
        ("vit_nano", 32, 32, 8),
        ("vit_tiny", 32, 32, 4),
        ("vit_tiny", 28, 28, 4),
        ("vit_tiny", 64, 64, 8),
        ("vit_base", 224, 224, 16),
        ("vit_large", 224, 224, 16),
        ("vit_tiny", 16, 24, 2),
    ],
)
def test_the_default_patch_follows_the_image(encoder: str, height: int, width: int, patch: int) -> None:
    assert resolve_patch(encoder, None, height, width) == patch


@given(st.integers(1, 256), st.integers(1, 256), st.floats(0.5, 64))
def test_the_nearest_common_divisor_divides_both_sides(height: int, width: int, target: float) -> None:
    side = common_divisor_near(height, width, target)
    check_patch("patch", side, height, width)


def test_a_patch_that_does_not_divide_is_an_error_that_names_both() -> None:
    with pytest.raises(UserError, match=r"patch_size: 5 does not divide an image of 8 x 12 pixels; valid: 1, 2, 4"):
        resolve_patch("vit_nano", 5, 8, 12)


def test_an_image_that_does_not_halve_is_an_error_that_names_a_size() -> None:
    check_levels("unet_nano", 8, 12)
    with pytest.raises(UserError, match=r"unet_small needs sides divisible by 16.*data\.image_size to 32"):
        check_levels("unet_small", 28, 28)
    check_levels("unet/resnet18", 64, 32)
    with pytest.raises(UserError, match=r"unet/resnet18 needs sides divisible by 32.*data\.image_size to 32"):
        check_levels("unet/resnet18", 28, 28)


def test_layers_are_named_in_order_of_depth() -> None:
    assert layer_names(RandomInitOptions(encoder="vit_nano"))[-1] == f"block{ENCODERS['vit_nano'].depth}"
    assert layer_names(RandomInitOptions(encoder="unet_nano")) == ("enc1", "enc2", "bottleneck", "dec2", "dec1")
    assert layer_names(default("pixels")) == ("pixels",)
    assert layer_names(RandomInitOptions(encoder="timm/resnet18")) is None
    assert layer_names(RandomInitOptions(encoder="unet/resnet18")) is None


@pytest.mark.parametrize(
    ("encoder", "layer", "name"),
    [
        ("vit_tiny", "last", "block6"),
        ("vit_tiny", "2", "block2"),
        ("unet_nano", "last", "bottleneck"),
        ("unet_nano", "dec1", "dec1"),
        ("unet_nano", "3", "bottleneck"),
        ("conv_nano", "last", "stage5"),
        ("timm/resnet18", "last", "last"),
        ("timm/resnet18", "2", "stage2"),
        ("unet/resnet18", "last", "last"),
        ("unet/resnet18", "dec5", "dec5"),
    ],
)
def test_layers_can_be_named_by_place(encoder: str, layer: str, name: str) -> None:
    assert resolve_layer(RandomInitOptions(encoder=encoder), layer) == name


@pytest.mark.parametrize("layer", ["block99", "0", "7"])
def test_an_unknown_layer_is_an_error_that_lists_the_layers(layer: str) -> None:
    with pytest.raises(UserError, match=r"layer of vit_tiny.*block1, block2.*last"):
        resolve_layer(RandomInitOptions(encoder="vit_tiny"), layer)
    with pytest.raises(UserError, match=r"layer of unet/resnet18.*bottleneck, dec1, .*enc5, last"):
        resolve_layer(RandomInitOptions(encoder="unet/resnet18"), layer)


def test_options_import_neither_torch_nor_ray() -> None:
    code = "import sys, bench.study.methods; sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
