"""Speed of encoders whose speed is known."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.data.shape import ImageShape
from bench.methods.base import Method
from bench.methods.encoder import Encoder
from bench.methods.flops import encoder_flops
from bench.methods.inference import BATCH, SECONDS, images_per_second, inference


class Slow(Encoder):
    """Takes a given time for each image, and remembers the batches."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            torch.nn.Identity(), ImageShape(1, 8, 8), [0.0], [1.0], layers={}, default_layer="", arguments={}
        )
        self.seconds, self.batches = seconds, list[int]()

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        time.sleep(self.seconds * len(images))
        return images


@pytest.mark.parametrize(("seconds", "batch"), [(2e-4, BATCH), (0.2, 1)])
def test_the_speed_is_the_encoder_s_and_the_measurement_short(seconds: float, batch: int) -> None:
    encoder = Slow(seconds)
    began = time.perf_counter()
    found = images_per_second(encoder)
    assert time.perf_counter() - began < 2 * SECONDS + 2 * seconds + 0.5
    assert 0.2 / seconds < found <= 1 / seconds
    assert max(encoder.batches) == batch


def test_a_larger_network_has_more_flops_and_is_slower(make: Callable[..., Method]) -> None:
    shape = ImageShape(3, 32, 32)
    small, large = (
        inference(make("random_init", shape, encoder=name).encoder().eval()) for name in ("conv_nano", "conv_tiny")
    )
    assert small.flops is not None
    assert large.flops is not None
    assert small.flops < large.flops
    assert small.per_second > large.per_second


def test_the_count_of_a_u_net_is_that_of_its_convolutions(make: Callable[..., Method]) -> None:
    """enc1 1-16-16 on 8 x 8, enc2 16-32-32 on 4 x 4, bottleneck 32-64-64 on 2 x 2; 3 x 3 kernels, times two."""
    pairs = [(1, 16, 64), (16, 32, 16), (32, 64, 4)]
    expected = sum(2 * 9 * pixels * (width * inputs + width * width) for inputs, width, pixels in pairs)
    assert encoder_flops(make("unet_masked").encoder()) == expected
