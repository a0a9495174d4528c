"""How cost grows: with images, with budgets, draws and layers, with trials, and with nodes.

    python benchmarks/growth.py            # the table of docs/benchmarks.md
    python benchmarks/growth.py --quick    # its smaller half

Measured, in processor seconds: a pretraining by its images (MAE, 32 px), the heads of a linear probe by their budgets,
draws and layers, the proposals of a search by its trials. An exponent is the slope of a line through the logarithms: 1
means twice the cost for twice the amount. Simulated: a study of given tasks on 1 to 64 nodes, each task handed to the
first free node, a search going on trial by trial in every setting; what is simulated is the order alone, with durations
that are drawn, not measured. Computed: a pretraining of ImageNet's size, from the speed measured here.
"""

from __future__ import annotations

import argparse
import heapq
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from pairs import write

from bench.data.shape import ImageShape
from bench.methods.registry import build_method
from bench.protocols.heads import fit_heads
from bench.study.methods import MaeOptions
from bench.training.loop import pretrain

NODES = (1, 2, 4, 8, 16, 32, 64)
SETTINGS, SEEDS, TRIALS = 20, 5, 10  # of the simulated study
HANDING = 0.01  # what the driver takes to hand a task out, as a share of a mean task
IMAGENET = 1_281_167
BATCH, DIM, CLASSES = 64, 192, 10


def processor_seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def exponent(amounts: Sequence[float], seconds: Sequence[float]) -> float:
    """Slope of the logarithms, by least squares."""
    return float(np.polyfit(np.log(amounts), np.log(seconds), 1)[0])


def train(images: int) -> float:
    """Seconds of two epochs on this many images."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, 32, 32, 3), np.uint8)
    options = MaeOptions(encoder="vit_nano", patch_size=4, epochs=2, batch_size=BATCH)
    method = build_method("mae", options, ImageShape(3, 32, 32), [0.5] * 3, [0.25] * 3, 0)
    return processor_seconds(lambda: pretrain(method, pixels, options, 0))


def heads(cells: int) -> float:
    """Seconds of the heads of so many draws (times layers) at 10 labels a class, 13 C each."""
    numbers = np.random.default_rng(0)
    labels = np.tile(np.arange(CLASSES), 10)
    centres = 0.3 * numbers.normal(size=(CLASSES, DIM))
    known = centres[labels] + numbers.normal(size=(cells, len(labels), DIM))
    truth = torch.from_numpy(np.tile(labels, (cells, 1)))
    return processor_seconds(
        lambda: fit_heads(torch.from_numpy(known), truth, CLASSES, torch.logspace(-4, 2, 13, dtype=torch.float64))
    )


def proposals(trials: int) -> float:
    """Seconds of Optuna's TPE over so many trials of one setting."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def run() -> None:
        study = optuna.create_study(direction="maximize")
        for number in range(trials):
            study.sampler = optuna.samplers.TPESampler(seed=number, n_startup_trials=2)
            trial = study.ask({"lr": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)})
            study.tell(trial, -abs(np.log10(trial.params["lr"]) + 2))

    return processor_seconds(run)


def measure(name: str, amounts: Sequence[int], cost: Callable[[int], float]) -> dict[str, Any]:
    cost(amounts[0])  # warms up
    seconds = [cost(amount) for amount in amounts]
    slope = exponent(amounts, seconds)
    spelled = ", ".join(f"{amount:,}: {value:.2f} s" for amount, value in zip(amounts, seconds, strict=True))
    print(f"{name}: {spelled}; exponent {slope:.2f}", flush=True)
    return {"name": name, "amounts": list(amounts), "seconds": seconds, "exponent": slope}


def simulated(nodes: int, seed: int = 0) -> float:
    """Makespan of a study, in mean task durations: searches trial by trial, then the seeds of each setting.

    A list scheduler: the driver hands out one task at a time, each to the first free node.
    """
    durations = np.random.default_rng(seed).lognormal(0, 0.3, (SETTINGS, TRIALS + SEEDS))
    ready = [(0.0, setting, 0) for setting in range(SETTINGS)]  # when, of which setting, how many trials are behind
    free, driver, last = [0.0] * nodes, 0.0, 0.0
    heapq.heapify(ready)
    while ready:
        when, setting, done = heapq.heappop(ready)
        driver = max(driver, when, free[0]) + HANDING
        end = driver + durations[setting, done]
        heapq.heapreplace(free, end)
        last = max(last, end)
        if done + 1 < TRIALS:
            heapq.heappush(ready, (end, setting, done + 1))
        elif done + 1 == TRIALS:
            for seed_number in range(SEEDS):
                heapq.heappush(ready, (end, setting, TRIALS + seed_number))
    return last


def scale_out() -> list[dict[str, float]]:
    alone = simulated(1)
    found = []
    print(f"{'nodes':>6} {'makespan':>9} {'speed-up':>9} {'efficiency':>10}")
    for nodes in NODES:
        span = simulated(nodes)
        found.append({"nodes": nodes, "makespan": span, "speed_up": alone / span})
        print(f"{nodes:>6} {span:9.1f} {alone / span:8.1f}x {alone / span / nodes:10.2f}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smaller half of every row")
    parser.add_argument("--cores", type=int, default=1, help="threads")
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    options = parser.parse_args()
    torch.set_num_threads(options.cores)
    kept = slice(0, 2 if options.quick else None)
    rows = [
        measure("pretraining, images", (256, 1024, 4096, 16384)[kept], train),
        measure("heads, draws x layers", (5, 20, 80, 320)[kept], heads),
        measure("proposals, trials", (16, 64, 256, 1024)[kept], proposals),
    ]
    speed = 2 * rows[0]["amounts"][-1] / rows[0]["seconds"][-1]
    hours = IMAGENET / speed / 3600
    print(f"{speed:.0f} images a second: {hours:.1f} core hours an epoch of {IMAGENET:,} images at this size")
    summary = {"rows": rows, "nodes": scale_out(), "images_per_second": speed, "core_hours_an_epoch": hours}
    write(options.output, {**summary, "threads": options.cores, "machine_cores": os.cpu_count()})


if __name__ == "__main__":
    main()
