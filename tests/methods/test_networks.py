"""The encoder networks: sizes, timm as an oracle, saving for timm, what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.base import Method
from bench.methods.encoder import FAMILIES, build_encoder, load_encoder, save_encoder
from bench.methods.timm_encoder import TimmEncoder
from bench.methods.unet import UNet
from bench.study.encoders import ENCODERS, layer_names
from bench.study.methods import RandomInitOptions

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_published_unet_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        assert parameters(UNet(3, ENCODERS["unet_paper"].widths, skip=True)) == 7_760_163


def test_a_unet_without_skips_sends_everything_through_the_bottleneck() -> None:
    images = torch.rand(2, 3, 16, 16)
    network = UNet(3, (8, 16, 32), skip=False)
    for parameter in network.bottleneck.parameters():
        torch.nn.init.zeros_(parameter)
    first, second = network(images)
    torch.testing.assert_close(first, second)
    with_skips = UNet(3, (8, 16, 32), skip=True)
    for parameter in with_skips.bottleneck.parameters():
        torch.nn.init.zeros_(parameter)
    first, second = with_skips(images)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("name", [name for name in ENCODERS if name.endswith(("nano", "tiny", "small"))])
def test_every_small_preset_has_the_layers_that_a_plan_says(name: str) -> None:
    encoder = build_encoder(name, ImageShape(3, 32, 32), MEAN, STD)
    assert tuple(encoder.layers) == layer_names(RandomInitOptions(encoder=name))
    assert set(encoder.embed(torch.rand(2, 3, 32, 32))) == set(encoder.layers)


@pytest.mark.parametrize(("name", "count"), [("vit_base", 85_798_656), ("vit_large", 303_301_632)])
def test_the_large_presets_are_the_published_sizes(name: str, count: int) -> None:
    with torch.device("meta"):
        network = FAMILIES["vit"](
            ImageShape(3, 224, 224), MEAN, STD, width=ENCODERS[name].widths[0], depth=ENCODERS[name].depth,
            heads=ENCODERS[name].heads, patch_size=16,
        )  # fmt: skip
    assert parameters(network.backbone) == count


@pytest.mark.parametrize("shape", [ImageShape(1, 8, 8), ImageShape(3, 16, 24)], ids=str)
def test_timm_loads_a_saved_vision_transformer(make: Callable[..., Method], tmp_path: Path, shape: ImageShape) -> None:
    encoder = make("mae", shape).encoder().eval()
    save_encoder(encoder, tmp_path)
    arguments = json.loads((tmp_path / "card.json").read_text())["timm"]
    network = timm.create_model(**arguments, checkpoint_path=str(tmp_path / "encoder.safetensors")).eval()
    images = torch.rand(3, *shape)
    tokens = network.forward_features(encoder.normalise(images))
    mine = encoder.forward_layers(images, ["last"])["last"]
    torch.testing.assert_close(tokens[:, 1:], mine.flatten(2).transpose(1, 2))
    maps = network.forward_intermediates(encoder.normalise(images), intermediates_only=True)
    torch.testing.assert_close(maps[0], encoder.forward_layers(images, ["block1"])["block1"])


@pytest.mark.parametrize(("name", "patch_size"), [("test_resnet", None), ("test_vit", 8)])
def test_timm_loads_a_saved_network_of_its_own(tmp_path: Path, name: str, patch_size: int | None) -> None:
    encoder = build_encoder(f"timm/{name}", ImageShape(1, 32, 48), [0.5], [0.2], patch_size=patch_size).eval()
    save_encoder(encoder, tmp_path)
    arguments = json.loads((tmp_path / "card.json").read_text())["timm"]
    network = timm.create_model(**arguments, checkpoint_path=str(tmp_path / "encoder.safetensors")).eval()
    images = torch.rand(3, 1, 32, 48)
    features = network.forward_intermediates(encoder.normalise(images), intermediates_only=True, norm=True)[-1]
    torch.testing.assert_close(features, encoder.forward_layers(images, ["last"])["last"])
    channels, stride = encoder.layers[encoder.default_layer]
    assert features.shape[1:] == (channels, -(-32 // stride), -(-48 // stride))


def test_the_published_weights_are_in_the_network(make: Callable[..., Method], weights: Path) -> None:
    encoder = make("timm", ImageShape(3, 32, 32)).encoder().eval()
    network = timm.create_model("test_resnet", num_classes=0)
    network.load_state_dict(load_file(weights))
    images = torch.rand(2, 3, 32, 32)
    config = timm.get_pretrained_cfg("test_resnet")
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (config.mean, config.std))
    expected = network.eval().forward_intermediates((images - mean) / std, intermediates_only=True)[-1]
    torch.testing.assert_close(encoder.forward_layers(images, ["last"])["last"], expected)


def test_weights_that_leave_a_tensor_random_are_an_error(tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"layer": torch.zeros(2)}, other)
    with pytest.raises(UserError, match="lacks"):
        TimmEncoder(ImageShape(3, 32, 32), MEAN, STD, name="test_resnet", weights=str(other))
    other.write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"^timm\.weights: cannot read"):
        TimmEncoder(ImageShape(3, 32, 32), MEAN, STD, name="test_resnet", weights=str(other))
    with pytest.raises(UserError, match=r"^swav\.weights: cannot read"):
        TimmEncoder(ImageShape(3, 32, 32), MEAN, STD, name="test_resnet", weights=str(other), key="swav.weights")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "vit_nano", "patch_size": 3}, "3 does not divide"),
        ({"name": "unet_small"}, "divisible by 16"),
        ({"name": "timm/no_such_net"}, "no_such_net"),
        ({"name": "timm/test_resnet", "patch_size": 2}, "cannot change its patches"),
        ({"name": "timm/test_vit", "patch_size": 3}, "3 does not divide"),
        (
            {"name": "timm/vit_tiny_r_s16_p8_224"},
            r"^encoder: 'timm/vit_tiny_r_s16_p8_224' cannot be built for 8 x 8 pixels: it asserts another size$",
        ),
        ({"name": "timm/maxvit_rmlp_pico_rw_256"}, "cannot be built for 8 x 8 pixels: .*negative dimension"),
        ({"name": "vit_nanoo"}, "did you mean 'vit_nano'"),
    ],
)
def test_what_does_not_fit_is_an_error_that_says_why(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        build_encoder(**arguments, shape=ImageShape(3, 8, 8), mean=MEAN, std=STD)


def test_a_folder_without_an_encoder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no encoder"):
        load_encoder(tmp_path)


def test_pixels_are_the_image_and_its_area_means(make: Callable[..., Method]) -> None:
    images = torch.rand(2, 1, 8, 8)
    whole = make("pixels").encoder()(images)
    torch.testing.assert_close(whole, ((images - 0.3) / 0.2).flatten(1))
    pooled = make("pixels", size=4).encoder()(images)
    torch.testing.assert_close(pooled, ((images - 0.3) / 0.2).view(2, 4, 2, 4, 2).mean((2, 4)).flatten(1))


def test_corrupted_inputs_are_what_the_options_say(make: Callable[..., Method]) -> None:
    images = 0.2 + 0.8 * torch.rand(512, 1, 8, 8)
    masked = make("unet_masked", mask_ratio=0.25).corrupt(images, Draws(0, 512))
    assert ((masked == 0).sum(dim=(1, 2, 3)) == 16).all()
    noise = make("unet_denoise", sigma=0.3).corrupt(images, Draws(0, 512)) - images
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    salted = make("unet_denoise", noise="uint8").corrupt(images, Draws(0, 512))
    assert (salted[images < 0.98] == 1).float().mean().item() == pytest.approx(0.032, rel=0.1)
    mixed = make("unet_mixed", mask_ratio=0.25, sigma=0.3).corrupt(images, Draws(0, 512))
    assert ((mixed == 0).sum(dim=(1, 2, 3)) == 16).all()
    assert (mixed - images)[mixed != 0].std().item() == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("name", ["unet_masked", "unet_mixed"])
def test_a_patch_that_does_not_divide_the_image_is_an_error_that_names_it(
    make: Callable[..., Method], name: str
) -> None:
    with pytest.raises(UserError, match=rf"{name}\.patch: 3 does not divide an image of 8 x 8 .* valid: 1, 2, 4, 8"):
        make(name, patch=3)
