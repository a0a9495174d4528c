"""A training step of the masked autoencoder against the one in transformers, and what partial decoding saves.

    python benchmarks/mae.py            # 32 x 32 in patches of 4, 192 x 6; 64 x 64 in patches of 8, 192 x 12
    python benchmarks/mae.py --quick    # the first of them with small batches, under a minute

Forward, backward and AdamW on the same images, in one process: ours, theirs, ours with half of the removed patches
decoded, and a square matrix product take turns, so that a busy machine hurts all of them. Ratios are medians over the
rounds with a distribution-free 95 % interval. The share is the step's matrix products (multiply-adds times two, forward
and backward) per second over the rate of the square product.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from pairs import median_interval, spelled, write
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.base import Method
from bench.methods.registry import build_method
from bench.study.methods import MaeOptions
from bench.training.optim import adamw, parameter_groups
from bench.training.precision import mixed_precision

MASK_RATIO, SQUARE = 0.75, 1024
SIDES = ("ours", "transformers", "half decoded")


@dataclass(frozen=True)
class Size:
    """Image and patch sides in pixels, and the network; the decoder is half as wide and a third as deep."""

    image: int
    patch: int
    encoder: str
    depth: int
    width: int = 192
    heads: int = 3


SIZES = (Size(32, 4, "vit_tiny", 6), Size(64, 8, "timm/vit_tiny_patch16_224", 12))


@dataclass(frozen=True)
class Round:
    """Seconds a step took on each side, and the multiply-adds (times two) a second of the square product."""

    ours: float
    transformers: float
    half_decoded: float
    product: float


def build_ours(size: Size, decoded: float) -> Method:
    options = MaeOptions(
        encoder=size.encoder, patch_size=size.patch, mask_ratio=MASK_RATIO, decoder_width=size.width // 2,
        decoder_depth=size.depth // 3, decoder_heads=size.heads, decoded=decoded,
    )  # fmt: skip
    return build_method("mae", options, ImageShape(3, size.image, size.image), [0.5] * 3, [0.25] * 3, 0).train()


def build_theirs(size: Size) -> nn.Module:
    config = ViTMAEConfig(
        hidden_size=size.width, num_hidden_layers=size.depth, num_attention_heads=size.heads,
        intermediate_size=4 * size.width, layer_norm_eps=1e-6, image_size=size.image, patch_size=size.patch,
        decoder_hidden_size=size.width // 2, decoder_num_hidden_layers=size.depth // 3,
        decoder_num_attention_heads=size.heads, decoder_intermediate_size=2 * size.width, mask_ratio=MASK_RATIO,
        norm_pix_loss=True,
    )  # fmt: skip
    return ViTMAEForPreTraining(config).train()


def ours_mixed(bf16: bool) -> AbstractContextManager[None]:
    """As the training loop of a study has it."""
    return mixed_precision(torch.device("cpu"), "bf16" if bf16 else "fp32")


def theirs_mixed(bf16: bool) -> AbstractContextManager[None]:
    """As transformers' Trainer has it."""
    return torch.autocast("cpu", torch.bfloat16, enabled=bf16)


def training_step(
    network: nn.Module,
    loss: Callable[[], torch.Tensor],
    bf16: bool,
    mixed: Callable[[bool], AbstractContextManager[None]] = ours_mixed,
) -> Callable[[], None]:
    optimizer = adamw(parameter_groups(network, 0.05), 1e-3, (0.9, 0.95))

    def step() -> None:
        with mixed(bf16):
            value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


def build_steps(size: Size, batch: int, bf16: bool) -> dict[str, Callable[[], None]]:
    """A training step of each side on the same images."""
    images = torch.rand(batch, 3, size.image, size.image, generator=torch.Generator().manual_seed(0))
    pixels = (images - 0.5) / 0.25
    ours, half, theirs = build_ours(size, 1.0), build_ours(size, 0.5), build_theirs(size)
    return {
        "ours": training_step(ours, lambda: ours.loss(images, Draws(0, batch))[0], bf16),
        "transformers": training_step(theirs, lambda: theirs(pixel_values=pixels).loss, bf16, theirs_mixed),
        "half decoded": training_step(half, lambda: half.loss(images, Draws(0, batch))[0], bf16),
    }


def seconds(call: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


def measure(steps: dict[str, Callable[[], None]], rounds: int, times: int, bf16: bool) -> list[Round]:
    """One round before the first warms every side up and is dropped."""
    square = torch.rand(SQUARE, SQUARE, dtype=torch.bfloat16 if bf16 else torch.float32)
    results = []
    for _ in range(rounds + 1):
        taken = [seconds(steps[side], times) for side in SIDES]
        results.append(Round(*taken, product=2 * SQUARE**3 / seconds(lambda: square @ square, 3)))
    return results[1:]


def counted(step: Callable[[], None]) -> float:
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())


def report(size: Size, results: list[Round], work: dict[str, float], batch: int) -> dict[str, object]:
    """Prints the table of one size; returns what it holds."""
    print(f"{size.image}/{size.patch}, {size.width} x {size.depth}, batch {batch}, {len(results)} rounds")
    print(f"{'':>13} {'images/s':>9} {'GFLOPs':>7} {'share':>6} {'speed against transformers':>28}")
    lines: dict[str, object] = {}
    for side in SIDES:
        taken = [getattr(result, side.replace(" ", "_")) for result in results]
        speed = median_interval([result.transformers / own for result, own in zip(results, taken, strict=True)])
        share = float(np.median([work[side] / own / r.product for own, r in zip(taken, results, strict=True)]))
        rate = batch / float(np.median(taken))
        print(f"{side:>13} {rate:9.0f} {work[side] / 1e9:7.1f} {share:6.2f}           {spelled(speed)}")
        lines[side] = {"images_per_second": rate, "flops": work[side], "share": share, "speed": speed}
    half = median_interval([result.ours / result.half_decoded for result in results])
    product = float(np.median([result.product for result in results]))
    print(f"half decoded against all decoded: {spelled(half)};", end=" ")
    print(f"square product {product / 1e9:.0f} GFLOP/s")
    rounds = [asdict(result) for result in results]
    return {"size": asdict(size), "sides": lines, "half": half, "product": product, "rounds": rounds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smaller size alone, small batches")
    parser.add_argument("--rounds", type=int, default=15, help="rounds that are timed")
    parser.add_argument("--steps", type=int, default=2, help="steps of each side in a round")
    parser.add_argument("--batch", type=int, default=64, help="images of a step")
    parser.add_argument("--cores", type=int, default=min(2, os.cpu_count() or 1), help="threads of every side")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    options = parser.parse_args()
    torch.set_num_threads(options.cores)
    batch, bf16 = (16 if options.quick else options.batch), options.precision == "bf16"
    found = []
    for size in SIZES[: 1 if options.quick else None]:
        steps = build_steps(size, batch, bf16)
        work = {side: counted(step) for side, step in steps.items()}
        found.append(report(size, measure(steps, options.rounds, options.steps, bf16), work, batch))
    write(options.output, {"threads": options.cores, "batch": batch, "precision": options.precision, "sizes": found})


if __name__ == "__main__":
    main()
