"""A whole study end to end, beside the script that users write today, and beside one process for each cell.

    python benchmarks/study.py            # 6 pretrainings x 6 budgets x 5 draws x 4 layers x 2 protocols
    python benchmarks/study.py --pretrainings 1 --cells 1 --processes 1    # smaller samples: rounds are shorter
    python benchmarks/study.py --quick    # 2 pretrainings, 3 budgets, 2 draws, 2 layers; fewer cells sampled

Ours is `python -m bench.run STUDY` in a fresh results folder: SimCLR at six temperatures on the handwritten digits, a
linear probe (seven values of C) and k-NN. Theirs is one script: for each temperature it trains the same network for as
many epochs with lightly's transform, projection head and NT-Xent loss, from a DataLoader of two workers; for each
protocol it encodes every image, and then loops scikit-learn over the cells on both cores. Both choose C and k by the
same rule and folds, from the same draws. Some of their pretrainings and, of each budget, protocol and layer, some of
their cells are timed and scaled up; so are a few processes of one cell each, which load an encoder, encode and judge.
Seconds are wall seconds of two cores, start and end included; the ratio of a round with its parts is printed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from joblib import Parallel, delayed
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from lightly.transforms.simclr_transform import SimCLRTransform
from pairs import median_interval, spelled, write
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as Items

from bench.data.catalog import Dataset, open_dataset
from bench.data.shape import ImageShape
from bench.methods.encoder import build_encoder
from bench.protocols.selection import choose, resolve, stratified_folds
from bench.study.load import parse_study
from bench.study.protocols import KnnOptions, LinearOptions

TEMPERATURES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
SIDE, FOLDS = 8, 5
STAGES = ("start", "pretraining", "encoding", "cells")  # of the script
PARTS = ("pretrainings", "cells", "processes")  # of the other side, of which a sample is timed


@dataclass(frozen=True)
class Asked:
    """The study, and how much of the other side is timed."""

    settings: int = 6
    budgets: tuple[str, ...] = ("1", "2", "5", "10", "20", "50")
    draws: int = 5
    layers: tuple[str, ...] = ("stage2", "stage3", "stage4", "stage5")
    epochs: int = 10
    pretrainings: int = 2  # of theirs that are timed
    cells: int = 2  # of theirs that are timed, of each protocol, budget and layer
    processes: int = 4  # of one cell each that are timed

    @property
    def cells_of_a_setting(self) -> int:
        return 2 * len(self.budgets) * self.draws * len(self.layers)


QUICK = Asked(2, ("1", "10", "20"), 2, ("stage4", "stage5"), 2, 1, 1, 1)


def study_of(asked: Asked) -> dict[str, Any]:
    shared = {"label_budgets": list(asked.budgets), "draws": asked.draws, "layers": list(asked.layers)}
    return {
        "study": "end-to-end",
        "data": {"name": "digits"},
        "methods": {"simclr": {"encoder": "conv_nano", "epochs": asked.epochs, "batch_size": 64}},
        "scientific": {"simclr.temperature": list(TEMPERATURES[: asked.settings])},
        "evaluate": [{"protocol": "linear", **shared}, {"protocol": "knn", **shared}],
        "seeds": 1,
        "resources": {"workers": 0, "cpus_per_worker": 1},
    }


def time_ours(asked: Asked) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(yaml.safe_dump(study_of(asked)))
        begun = time.perf_counter()
        run([sys.executable, "-m", "bench.run", str(path), "--results", f"{folder}/results"])
        return time.perf_counter() - begun


def run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr[-2000:]}")


class Views(Items[list[Tensor]]):
    """Two views of an image, as lightly makes them."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = [Image.fromarray(image).convert("RGB") for image in images]
        self.transform = SimCLRTransform(input_size=SIDE, gaussian_blur=0.0, hf_prob=0.0, random_gray_scale=0.0)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[Tensor]:
        return [view.mean(0, keepdim=True) for view in self.transform(self.images[index])]


def digits() -> tuple[Dataset, np.ndarray]:
    """The data set with its splits, and its images, uint8 [N, 8, 8]."""
    dataset = open_dataset(parse_study(study_of(QUICK), "benchmark").data, Path(tempfile.mkdtemp()))
    return dataset, np.array(dataset.images.images)[..., 0]


def fresh_network() -> nn.Module:
    return build_encoder("conv_nano", ImageShape(1, SIDE, SIDE), [0.3], [0.37]).backbone


def pretrain(images: np.ndarray, temperature: float, asked: Asked) -> nn.Module:
    """The network, trained as lightly's example trains one."""
    network = fresh_network()
    head = SimCLRProjectionHead(128, 128, 64)
    loader = DataLoader(Views(images), batch_size=64, shuffle=True, drop_last=True, num_workers=2)
    criterion = NTXentLoss(temperature=temperature)
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(asked.epochs):
        for views in loader:
            first, second = (head(network(view).mean((2, 3))) for view in views)
            loss = criterion(first, second)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


@torch.no_grad()
def encode(network: nn.Module, images: np.ndarray, layer: str) -> np.ndarray:
    """Pooled features of one layer, float32 [N, D]."""
    stages = list(network.eval().stages)[: int(layer.removeprefix("stage"))]
    batches = torch.from_numpy(images).float().div(255)[:, None].split(256)
    return torch.cat([nn.Sequential(*stages)(batch).mean((2, 3)) for batch in batches]).numpy()


def judge(dataset: Dataset, features: np.ndarray, protocol: str, budget: str, draw: int) -> float:
    """One cell with scikit-learn: C or k by cross-validation from 10 labels a class on, as on our side."""
    splits = dataset.splits
    known = np.sort(splits.budget(budget, draw, "balanced"))
    labels, per_class = splits.labels[known], int(budget)
    points, queries = features[known], features[splits.test]
    if protocol == "linear":
        scaler = StandardScaler().fit(features[splits.train])
        points, queries = scaler.transform(points), scaler.transform(queries)
        options = LinearOptions()
        candidates, default = options.candidates(), options.c_default
    else:
        candidates = KnnOptions().candidates(per_class)
        default = min(KnnOptions().k_default, candidates[-1])
    chosen = default
    if resolve("auto", per_class, len(candidates)) == "within_budget":
        held_out = stratified_folds(labels, FOLDS, budget, draw)
        quality = [
            np.mean([
                balanced_accuracy_score(
                    labels[held_out == fold],
                    fitted(protocol, value, points[held_out != fold], labels[held_out != fold]).predict(
                        points[held_out == fold]
                    ),
                )
                for fold in range(FOLDS)
            ])
            for value in candidates
        ]  # fmt: skip
        chosen = candidates[choose(np.array([quality]), candidates, default)[0]]
    predicted = fitted(protocol, chosen, points, labels).predict(queries)
    return float(balanced_accuracy_score(splits.labels[splits.test], predicted))


def fitted(protocol: str, value: float, points: np.ndarray, labels: np.ndarray) -> Any:
    model = LogisticRegression(C=value, max_iter=1000) if protocol == "linear" else KNeighborsClassifier(int(value))
    return model.fit(points, labels)


def time_theirs(asked: Asked, seed: int, weights: Path) -> dict[str, float]:
    """Seconds of the whole script, scaled up from what is timed: its start, pretraining, encoding and cells."""
    begun = time.perf_counter()
    run([sys.executable, __file__, "--help"])  # loads what the script loads
    start = time.perf_counter() - begun
    dataset, images = digits()
    train = images[dataset.splits.train]
    begun = time.perf_counter()
    for temperature in TEMPERATURES[: asked.pretrainings]:
        network = pretrain(train, temperature, asked)
    pretraining = (time.perf_counter() - begun) / asked.pretrainings * asked.settings
    torch.save(network.state_dict(), weights)
    begun = time.perf_counter()
    features = {layer: encode(network, images, layer) for layer in asked.layers}
    encoding = (time.perf_counter() - begun) * 2 * asked.settings
    numbers = np.random.default_rng(seed)
    jobs = [
        (protocol, budget, layer, int(draw))
        for protocol, budget, layer in product(("linear", "knn"), asked.budgets, asked.layers)
        for draw in numbers.permutation(asked.draws)[: asked.cells]
    ]
    begun = time.perf_counter()
    scores = Parallel(n_jobs=2)(
        delayed(judge)(dataset, features[layer], protocol, budget, draw) for protocol, budget, layer, draw in jobs
    )
    cells = (time.perf_counter() - begun) / len(jobs) * asked.cells_of_a_setting * asked.settings
    return {
        "start": start, "pretraining": pretraining, "encoding": encoding, "cells": cells,
        "score": float(np.mean(scores)), "all": start + pretraining + encoding + cells,
    }  # fmt: skip


def time_processes(asked: Asked, seed: int, weights: Path) -> float:
    """Seconds of a process for each cell, two at a time, scaled up; their pretrainings are not counted."""
    numbers = np.random.default_rng(seed)
    begun = time.perf_counter()
    for _ in range(asked.processes):
        pick = [str(numbers.choice(values)) for values in (("linear", "knn"), asked.budgets, asked.layers)]
        command = [sys.executable, __file__, "--cell", *pick, "--weights", str(weights)]
        Parallel(n_jobs=2, prefer="threads")(delayed(run)(command) for _ in range(2))
    one = (time.perf_counter() - begun) / (2 * asked.processes)
    return one * asked.cells_of_a_setting * asked.settings


def one_cell(protocol: str, budget: str, layer: str, weights: Path) -> None:
    dataset, images = digits()
    network = fresh_network()
    network.load_state_dict(torch.load(weights, weights_only=True))
    print(judge(dataset, encode(network, images, layer), protocol, budget, 0))


def measure(asked: Asked, rounds: int) -> dict[str, Any]:
    found = []
    print(f"{'round':>5} {'ours s':>8} {'script s':>9} {'processes s':>12}   {'script':>7} {'processes':>9}")
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "network.pt"
        for number in range(rounds):
            ours, theirs = time_ours(asked), time_theirs(asked, number, weights)
            apart = time_processes(asked, number, weights)
            ratios = theirs["all"] / ours, apart / ours
            print(
                f"{number:>5} {ours:8.1f} {theirs['all']:9.1f} {apart:12.1f}   {ratios[0]:6.1f}x {ratios[1]:8.1f}x  "
                f"(script: {', '.join(f'{part} {theirs[part]:.0f}' for part in STAGES)})",
                flush=True,
            )
            found.append({"ours": ours, "script": theirs, "processes": apart})
    script = median_interval([item["script"]["all"] / item["ours"] for item in found])
    processes = median_interval([item["processes"] / item["ours"] for item in found])
    print(f"the script takes {spelled(script)} as long, a process for each cell {spelled(processes)}")
    return {"script": script, "processes": processes, "rounds": found, "ratio": script[0], "aim": 5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a corner of the study")
    parser.add_argument("--rounds", type=int, default=10, help="rounds that are timed")
    for name in PARTS:
        parser.add_argument(f"--{name}", type=int, default=None, help="of theirs that are timed in a round")
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    parser.add_argument("--cell", nargs=3, metavar=("PROTOCOL", "BUDGET", "LAYER"), help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        one_cell(*options.cell, options.weights)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(2)
    asked = QUICK if options.quick else Asked()
    timed = {name: getattr(options, name) for name in PARTS if getattr(options, name) is not None}
    asked = replace(asked, **timed)
    write(options.output, {"asked": vars(asked), **measure(asked, options.rounds)})


if __name__ == "__main__":
    main()
