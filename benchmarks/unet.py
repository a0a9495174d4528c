"""A U-Net denoising step as bench takes it, against the same network written plainly, on the CPU.

    python benchmarks/unet.py            # presets and batches at 64 px, fp32 and bf16
    python benchmarks/unet.py --quick    # the smallest preset, under a minute

Both sides draw noise, restore the image, take the mean squared error and one step of AdamW. The plain side is the
network as one would type it in: fp32, contiguous, eager, one kernel a parameter. Steps are taken in turn, pair after
pair, so that a busy machine hurts both; the ratio is the median over the pairs. Before anything is timed, both sides
take steps from the same weights on the same images, and the losses must agree as closely as other noise lets them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from pairs import median_interval, spelled, write
from torch import Tensor, nn
from torch.nn import functional

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.registry import build_method
from bench.study.encoders import ENCODERS
from bench.study.methods import UnetDenoiseOptions
from bench.training.optim import adamw, parameter_groups

SIDE, SIGMA, LR = 64, 0.54, 1e-3
AGREE = 0.03  # relative difference of the losses of equal weights under other noise


@dataclass(frozen=True)
class Case:
    """One surface: which preset, how many images a step, in which precision on our side."""

    encoder: str
    batch: int
    precision: str


CASES = tuple(
    Case(encoder, batch, precision)
    for encoder, batch in (("unet_nano", 64), ("unet_small", 32), ("unet_paper", 8))
    for precision in ("fp32", "bf16")
)
QUICK = (Case("unet_nano", 16, "fp32"), Case("unet_nano", 16, "bf16"))


class Plain(nn.Module):
    """The U-Net of arXiv 2410.19899, written down."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.down = nn.ModuleList(pair(i, o) for i, o in zip([channels, *widths[:-2]], widths[:-1], strict=True))
        self.middle = pair(widths[-2], widths[-1])
        self.grow = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, 2) for i, o in zip(widths[1:], widths[:-1], strict=True))
        self.up = nn.ModuleList(pair(2 * width, width) for width in widths[:-1])
        self.out = nn.Conv2d(widths[0], channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for block in self.down:
            x = block(x)
            kept.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.middle(x)
        for grow, block, beside in zip(reversed(self.grow), reversed(self.up), reversed(kept), strict=True):
            x = block(torch.cat([beside, grow(x)], dim=1))
        return self.out(x)


def pair(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU()
    )


def plain_step(case: Case, images: Tensor, weights: dict[str, Tensor]) -> Callable[[int], float]:
    """A step of the plain side, by its number."""
    network = Plain(images.shape[1], ENCODERS[case.encoder].widths)
    names = {"down": "enc", "middle": "bottleneck", "grow": "up", "up": "dec", "out": "out"}
    renamed = {f"{names[name.split('.')[0]]}.{name.partition('.')[2]}": name for name in network.state_dict()}
    network.load_state_dict({mine: weights[theirs] for theirs, mine in renamed.items()})
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=0.0, foreach=False)

    def step(number: int) -> float:
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(number))
        loss = functional.mse_loss(network(images + SIGMA * noise), images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def our_step(case: Case, images: Tensor) -> tuple[Callable[[int], float], dict[str, Tensor]]:
    """A step of ours as the training loop takes it, and the initial weights of the network."""
    options = UnetDenoiseOptions(encoder=case.encoder, sigma=SIGMA)
    shape = ImageShape(*images.shape[1:])
    method = build_method("unet_denoise", options, shape, [0.5] * 3, [0.2] * 3, seed=0).train()
    optimizer = adamw(parameter_groups(method, 0.0), LR, options.betas)
    weights = {name: tensor.clone() for name, tensor in method.encoder().backbone.state_dict().items()}

    def step(number: int) -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=case.precision == "bf16"):
            loss, _ = method(images, Draws(number, len(images)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, weights


def timed(step: Callable[[int], float], number: int) -> tuple[float, float]:
    """Seconds and loss of a step."""
    began = time.perf_counter()
    loss = step(number)
    return time.perf_counter() - began, loss


def measure(case: Case, pairs: int) -> dict[str, object]:
    """Seconds of either side, pair by pair; two steps before the first warm both sides up and are dropped."""
    images = torch.rand((case.batch, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1_000))
    ours, weights = our_step(case, images)
    plain = plain_step(case, images, weights)
    for number in range(2):
        losses = timed(ours, number)[1], timed(plain, number)[1]
        if abs(losses[0] / losses[1] - 1) > AGREE:
            raise RuntimeError(f"{case}: the losses of step {number} differ: ours {losses[0]}, plain {losses[1]}")
    seconds = [(timed(ours, number)[0], timed(plain, number)[0]) for number in range(2, 2 + pairs)]
    return {**asdict(case), "seconds": seconds}


def report(results: Sequence[dict[str, object]]) -> None:
    """Prints a line for each case: median seconds of either side, and the ratio's median and range."""
    print(f"{'encoder':>11} {'batch':>5} {'ours':>5} {'ours s':>8} {'plain s':>8} {'ratio':>6}")
    for result in results:
        seconds = np.array(result["seconds"])
        ratios = seconds[:, 1] / seconds[:, 0]
        ours, plain = np.median(seconds, axis=0)
        print(
            f"{result['encoder']:>11} {result['batch']:>5} {result['precision']:>5} {ours:8.3f} {plain:8.3f} "
            f" {spelled(median_interval(ratios.tolist()))}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest preset alone")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of steps that are timed")
    parser.add_argument("--cores", type=int, default=1, help="cores for either side")
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    options = parser.parse_args()
    torch.set_num_threads(options.cores)
    results = [measure(case, options.pairs) for case in (QUICK if options.quick else CASES)]
    report(results)
    write(options.output, {"side": SIDE, "threads": options.cores, "cases": results})


if __name__ == "__main__":
    main()
