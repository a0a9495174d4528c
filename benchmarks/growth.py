"""How cost grows: with images, with budgets, draws and layers, with trials, and with nodes.

    python benchmarks/growth.py --handing MS    # MS: what `scheduling.py` measured for a unit
    python benchmarks/growth.py --quick         # the smaller half of what is measured, and no ImageNet

Measured, in processor seconds, the median of the rounds: a pretraining by its images (MAE, 32 px), the heads of a
linear probe by their draws and layers, the proposals of a search by its trials. An exponent is the slope of a line
through the logarithms: 1 means twice the cost for twice the amount; the one between the last two amounts is given too,
because fixed costs flatten the line. Replayed: a study on 1 to 64 nodes, with durations drawn from those measured in a
published study (`replay.py`). Computed: a pretraining of ImageNet's size (`imagenet.py`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from imagenet import LARGE, report
from pairs import write
from replay import Durations, plan_of, replay

from bench.data.shape import ImageShape
from bench.methods.registry import build_method
from bench.protocols.heads import fit_heads
from bench.study.methods import MaeOptions
from bench.training.loop import pretrain

NODES = (1, 2, 4, 8, 16, 32, 64)
SETTINGS, SEEDS, TRIALS = 20, 5, 10  # of the replayed study
PUBLISHED = Path(__file__).parents[1] / "docs" / "results" / "paper_mae_small"
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

    def run() -> None:
        study = optuna.create_study(direction="maximize")
        for number in range(trials):
            study.sampler = optuna.samplers.TPESampler(seed=number, n_startup_trials=2)
            trial = study.ask({"lr": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)})
            study.tell(trial, -abs(np.log10(trial.params["lr"]) + 2))

    return processor_seconds(run)


def measure(name: str, amounts: Sequence[int], cost: Callable[[int], float], rounds: int) -> dict[str, Any]:
    cost(amounts[0])  # warms up
    taken = [[cost(amount) for amount in amounts] for _ in range(rounds)]
    seconds = np.median(taken, axis=0).tolist()
    slope, last = exponent(amounts, seconds), exponent(amounts[-2:], seconds[-2:])
    spelled = ", ".join(f"{amount:,}: {value:.2f} s" for amount, value in zip(amounts, seconds, strict=True))
    print(f"{name}: {spelled}; exponent {slope:.2f}, between the last two {last:.2f}; {rounds} rounds", flush=True)
    found = {"name": name, "amounts": list(amounts), "seconds": seconds, "rounds": taken}
    return {**found, "exponent": slope, "last_exponent": last}


def scale_out(durations: Durations, handing: float) -> dict[str, Any]:
    """A study of 20 settings x 10 trials, then 5 seeds of each, on 1 to 64 nodes."""
    plan = plan_of(SETTINGS, TRIALS, SEEDS)
    alone, work = replay(plan, durations, 1, handing)
    print(f"{SETTINGS} settings of {TRIALS} trials and {SEEDS} seeds, {work / 3600:.1f} h of measured tasks, replayed;")
    print(f"{handing * 1000:g} ms to hand one out\n{'nodes':>6} {'hours':>7} {'speed-up':>9} {'busy':>6}")
    found = []
    for nodes in NODES:
        span, _ = replay(plan, durations, nodes, handing)
        found.append({"nodes": nodes, "hours": span / 3600, "speed_up": alone / span, "busy": work / span / nodes})
        print(f"{nodes:>6} {span / 3600:7.2f} {alone / span:8.1f}x {work / span / nodes:6.2f}")
    means = {"trial": float(durations.trials.mean()), "task": float(durations.tasks.mean())}
    return {"nodes": found, "handing": handing, "mean_seconds": means}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smaller half of every row")
    parser.add_argument("--rounds", type=int, default=3, help="readings of every amount; the median is reported")
    parser.add_argument("--cores", type=int, default=1, help="threads")
    parser.add_argument("--durations", type=Path, default=PUBLISHED, help="folder with rows.parquet and trials.parquet")
    parser.add_argument("--handing", type=float, default=10.0, help="ms to hand out a unit; default: the aim")
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    options = parser.parse_args()
    torch.set_num_threads(options.cores)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kept = slice(0, 2 if options.quick else None)
    rows = [
        measure("pretraining, images", (256, 1024, 4096, 16384)[kept], train, options.rounds),
        measure("heads, draws x layers", (5, 20, 80, 320)[kept], heads, options.rounds),
        measure("proposals, trials", (16, 64, 256, 1024)[kept], proposals, options.rounds),
    ]
    summary: dict[str, Any] = {"threads": options.cores, "rows": rows}
    summary["scale_out"] = scale_out(Durations.of(options.durations), options.handing / 1000)
    if not options.quick:
        summary["imagenet"] = report(LARGE)
    write(options.output, summary)


if __name__ == "__main__":
    main()
