"""U-Nets around encoders of segmentation-models-pytorch: the library as an oracle, and what it cannot build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.base import Method
from bench.methods.encoder import build_encoder, load_encoder, save_encoder
from bench.methods.registry import build_method
from bench.study.methods import METHODS
from bench.training.loop import pretrain
from bench.training.optim import layer_decay_groups

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
SHAPE = ImageShape(3, 64, 32)
NAMES = ["resnet18", "tu-test_resnet", "tu-test_convnext"]


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_the_maps_of_the_library_s_network(name: str) -> None:
    encoder = build_encoder(f"unet/{name}", SHAPE, MEAN, STD).eval()
    images = torch.rand(2, *SHAPE)
    maps = encoder.forward_layers(images)
    assert list(maps) == list(encoder.layers)
    for layer, (channels, stride) in encoder.layers.items():
        assert maps[layer].shape == (2, channels, 64 // stride, 32 // stride), layer
        torch.testing.assert_close(encoder.forward_layers(images, [layer])[layer], maps[layer], rtol=0, atol=0)
    network = encoder.backbone
    torch.testing.assert_close(network.segmentation_head(maps["dec1"]), network(images))
    torch.testing.assert_close(maps["bottleneck"], network.encoder(images)[-1])
    torch.testing.assert_close(encoder(images), maps["bottleneck"].mean((2, 3)))


def test_a_timm_encoder_is_timm_s_network() -> None:
    encoder = build_encoder("unet/tu-test_resnet", SHAPE, MEAN, STD).eval()
    network = timm.create_model("test_resnet", features_only=True).eval()
    network.load_state_dict(encoder.backbone.encoder.model.state_dict())
    images = torch.rand(2, *SHAPE)
    names = ["enc2", "enc3", "enc4", "enc5", "bottleneck"]
    for name, expected in zip(names, network(images), strict=True):
        torch.testing.assert_close(encoder.forward_layers(images, [name])[name], expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_network_is_loaded_bit_for_bit(name: str, tmp_path: Path) -> None:
    encoder = build_encoder(f"unet/{name}", ImageShape(1, 32, 32), [0.5], [0.2]).eval()
    save_encoder(encoder, tmp_path)
    loaded = load_encoder(tmp_path)
    assert loaded.layers == encoder.layers
    images = torch.rand(2, 1, 32, 32)
    for layer, features in encoder.forward_layers(images).items():
        assert torch.equal(loaded.forward_layers(images, [layer])[layer], features)


def restoring(name: str) -> tuple[Method, object]:
    options = METHODS["unet_mixed"](encoder=f"unet/{name}", batch_size=4, epochs=2, sigma=0.1, patch=8)
    return build_method("unet_mixed", options, ImageShape(3, 32, 32), MEAN, STD, 0), options


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_reaches_every_parameter(name: str) -> None:
    method, _ = restoring(name)
    method(torch.rand(4, 3, 32, 32), Draws(0, 4))[0].backward()
    assert [name for name, parameter in method.named_parameters() if parameter.grad is None] == []


def test_a_network_that_drops_blocks_at_random_trains_to_the_same_bits() -> None:
    images = torch.randint(0, 256, (8, 32, 32, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8).numpy()
    runs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        method, options = restoring("mit_b0")
        runs.append(pretrain(method, images, options, 0).step_losses)
    assert runs[0] == runs[1]


def test_layer_decay_knows_the_encoder_from_what_lies_behind() -> None:
    backbone = build_encoder("unet/tu-test_resnet", SHAPE, MEAN, STD).backbone
    groups = layer_decay_groups(backbone, torch.nn.Linear(2, 2), weight_decay=0.1, layer_decay=0.5)
    scale = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    assert {scale[id(parameter)] for parameter in backbone.encoder.parameters()} == {0.25}
    assert {scale[id(parameter)] for parameter in backbone.decoder.parameters()} == {0.5}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "unet/resnet81"}, r"no encoder 'resnet81'; near: unet/resnet18"),
        ({"name": "unet/tu-resnet81"}, r"no encoder 'tu-resnet81'; near: unet/tu-resnet"),
        ({"name": "unet/tu-test_vit"}, r"no U-Net can be built around 'unet/tu-test_vit'"),
        ({"name": "unet/resnet18", "skip": False}, r"skip: false, but the decoder of 'unet/resnet18' always"),
        ({"name": "unet/resnet18", "shape": ImageShape(3, 32, 48)}, r"divisible by 32, the image is 32 x 48"),
    ],
)
def test_what_cannot_be_built_is_an_error_that_says_why(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        build_encoder(**{"shape": SHAPE, "mean": MEAN, "std": STD, **arguments})


def test_a_layer_the_network_lacks_is_an_error_that_lists_the_layers() -> None:
    encoder = build_encoder("unet/tu-test_convnext", SHAPE, MEAN, STD)
    with pytest.raises(UserError, match=r"unknown layer 'enc2'.*bottleneck.*enc3"):
        encoder.embed(torch.rand(1, *SHAPE), ["enc2"])


def test_random_networks_come_from_the_seed(make: Callable[..., Method]) -> None:
    first, again, other = (
        make("random_init", ImageShape(3, 32, 32), seed, encoder="unet/tu-test_resnet").state_dict()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
