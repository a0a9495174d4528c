"""Which maps a decoder reads: strides, layers and sizes, and the library's own models on the library's own encoder."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch

from bench.data.shape import ImageShape
from bench.methods.encoder import Encoder, build_encoder
from bench.protocols.decoders import Segmenter, build_decoder
from bench.protocols.pyramid import pyramid, resampled, sizes

DECODERS = ("unet", "pspnet", "deeplabv3plus", "fpn", "upernet")


def built(name: str, side: int = 64, channels: int = 3) -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_encoder(name, ImageShape(channels, side, side), [0.5] * channels, [0.2] * channels).eval()


@pytest.mark.parametrize(
    ("encoder", "decoder", "expected"),
    [
        ("timm/resnet18", "unet", [("stage1", 2), ("stage2", 4), ("stage3", 8), ("stage4", 16), ("stage5", 32)]),
        ("timm/resnet18", "fpn", [("stage2", 4), ("stage3", 8), ("stage4", 16), ("stage5", 32)]),
        ("timm/resnet18", "pspnet", [("stage3", 8)]),
        ("timm/resnet18", "deeplabv3plus", [("stage2", 4), ("stage5", 16)]),
        ("unet_nano", "unet", [("enc1", 1), ("enc2", 2), ("bottleneck", 4)]),
        ("unet_nano", "upernet", [("enc1", 1), ("enc2", 2), ("bottleneck", 4), ("bottleneck", 8)]),
        ("conv_nano", "unet", [("stage1", 1), ("stage3", 2), ("stage5", 4)]),
        ("conv_nano", "pspnet", [("stage5", 4)]),
        ("vit_tiny", "unet", [("block2", 2), ("block3", 4), ("block5", 8), ("block6", 16)]),
        ("vit_nano", "deeplabv3plus", [("block1", 4), ("block2", 16)]),
        ("vit_nano", "pspnet", [("block2", 16)]),
    ],
)
def test_layers_and_strides(encoder: str, decoder: str, expected: list[tuple[str, int]]) -> None:
    assert [tuple(level) for level in pyramid(built(encoder), decoder)] == expected


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("encoder", "side"), [("timm/resnet18", 60), ("vit_nano", 28), ("conv_nano", 30)])
def test_logits_have_the_size_of_any_image(decoder: str, encoder: str, side: int) -> None:
    network = segmenter(built(encoder, side), decoder, 5)
    with torch.no_grad():
        assert network(torch.rand(2, 3, side, side)).shape == (2, 5, side, side)


def test_sizes_are_as_many_steps_apart_as_the_strides_say() -> None:
    levels = pyramid(built("timm/resnet18", 70), "unet")
    assert sizes(levels, 70, 100) == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]


def test_resampling_keeps_a_constant_and_a_mean() -> None:
    maps = torch.rand(1, 2, 8, 8)
    assert resampled(maps, (8, 8)) is maps
    torch.testing.assert_close(resampled(maps, (2, 2)).mean((2, 3)), maps.mean((2, 3)))
    torch.testing.assert_close(resampled(torch.ones(1, 1, 3, 3), (7, 5)), torch.ones(1, 1, 7, 5))


LIBRARY = {
    "unet": (smp.Unet, {"decoder_channels": (256, 128, 64, 32, 16)}),
    "deeplabv3plus": (smp.DeepLabV3Plus, {"encoder_output_stride": 16}),
    "fpn": (smp.FPN, {}),
    "upernet": (smp.UPerNet, {}),
}


@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_at_width_256_decoder_and_head_are_the_librarys(name: str) -> None:
    """The library's model computes, with its weights in our decoder, what ours computes from its encoder's maps."""
    kind, options = LIBRARY[name]
    torch.manual_seed(0)
    model = kind("resnet18", encoder_weights=None, classes=5, **options).eval()
    encoder = built("timm/resnet18")
    levels = pyramid(encoder, name)
    channels = [encoder.layers[level.layer].channels for level in levels]
    places, decoder, head = build_decoder(name, channels, 256, 5)
    decoder.load_state_dict(model.decoder.state_dict())
    head.load_state_dict(model.segmentation_head.state_dict())
    with torch.no_grad():
        features = model.encoder(torch.rand(2, 3, 64, 64))
        strides = {64 // maps.shape[-1]: maps for maps in features}
        maps = [strides[level.stride] if name != "deeplabv3plus" else None for level in levels]
        if name == "deeplabv3plus":
            maps = [features[2], features[-1]]
        blank = torch.empty(0, 0, 64, 64)
        ours = head.eval()[0](decoder.eval()([*[blank] * places, *maps]))
        theirs = model.segmentation_head[0](model.decoder(list(features)))
    torch.testing.assert_close(ours, theirs)


def test_frozen_encoders_stay_in_evaluation_mode() -> None:
    network = segmenter(built("timm/resnet18"), "fpn", 3).train()
    assert network.decoder.training
    assert not any(part.training for part in network.encoder.modules())


def segmenter(encoder: Encoder, decoder: str, n_classes: int) -> Segmenter:
    levels = pyramid(encoder, decoder)
    widths = [encoder.layers[level.layer].channels for level in levels]
    neutral = [(torch.zeros(1, width, 1, 1), torch.ones(1, width, 1, 1)) for width in widths]
    return Segmenter(encoder, levels, neutral, decoder, 64, n_classes).eval()
