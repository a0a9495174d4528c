"""Speed of encoders whose speed is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from bench.data.shape import ImageShape
from bench.methods.base import Method
from bench.methods.encoder import Encoder
from bench.methods.flops import encoder_flops
from bench.methods.inference import BATCH, SECONDS, images_per_second, inference, layer_costs


class Clock:
    """A clock that only the encoder's work moves: what a test says of speed then holds on a busy machine too."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Slow(Encoder):
    """Takes a given time for each image, and remembers the batches."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        super().__init__(
            torch.nn.Identity(), ImageShape(1, 8, 8), [0.0], [1.0], layers={}, default_layer="", arguments={}
        )
        self.seconds, self.clock, self.batches = seconds, clock, list[int]()

    def embed(self, images: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        self.batches.append(len(images))
        self.clock.now += self.seconds * len(images)
        return {}


@pytest.mark.parametrize(("seconds", "batch"), [(2e-4, BATCH), (2e-3, 30), (0.2, 1)])
def test_the_speed_is_the_encoder_s_and_the_measurement_short(
    seconds: float, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("bench.methods.inference.time", clock)
    encoder = Slow(seconds, clock)
    assert images_per_second(encoder) == pytest.approx(1 / seconds)
    assert max(encoder.batches) == batch
    assert clock.now < 2 * SECONDS + 2 * seconds


def test_a_larger_network_has_more_flops(make: Callable[..., Method]) -> None:
    shape = ImageShape(3, 32, 32)
    small, large = (
        inference(make("random_init", shape, encoder=name).encoder().eval()) for name in ("conv_nano", "conv_tiny")
    )
    assert small.flops is not None
    assert large.flops is not None
    assert small.flops < large.flops
    assert small.per_second is not None


def test_the_count_of_a_u_net_is_that_of_its_convolutions(make: Callable[..., Method]) -> None:
    """enc1 1-16-16 on 8 x 8, enc2 16-32-32 on 4 x 4, bottleneck 32-64-64 on 2 x 2; 3 x 3 kernels, times two."""
    pairs = [(1, 16, 64), (16, 32, 16), (32, 64, 4)]
    expected = sum(2 * 9 * pixels * (width * inputs + width * width) for inputs, width, pixels in pairs)
    assert encoder_flops(make("unet_masked").encoder()) == expected


def test_an_earlier_layer_costs_what_it_takes_to_reach_it(make: Callable[..., Method]) -> None:
    encoder = make("random_init", ImageShape(3, 32, 32), encoder="unet_nano").encoder().eval()
    costs = layer_costs(encoder, ["enc1", "bottleneck", "last", "dec1"])
    assert costs["last"] is costs["bottleneck"]
    enc1 = 2 * 9 * 32 * 32 * (16 * 3 + 16 * 16)
    assert costs["enc1"].flops == enc1
    assert enc1 < costs["bottleneck"].flops < costs["dec1"].flops
    assert all(cost.per_second is not None for cost in costs.values())
