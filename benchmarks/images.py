"""Images: building the store from JPEG files, opening it again, and what reading and augmenting cost an epoch.

    python benchmarks/images.py --root DIR    # DIR holds a folder of JPEG files for each class
    python benchmarks/images.py               # 13,500 made JPEG files of 64 x 64 in 10 classes
    python benchmarks/images.py --quick       # 1,200 of them

Build: `open_dataset` into an empty results folder (read, decode, digest, duplicates, splits, record), beside one pass
of torchvision's ImageFolder through a DataLoader of 2 workers. Processes that either side starts are counted.

Second start: `open_dataset` once more.

Epoch: training steps of a masked autoencoder whose batches come from the store and are augmented, beside the same steps
on batches that lie on the device as floats: augmented there too (`reading`), or augmented before (`reading and
augmentation`). The share is how much of the second side's speed the first keeps.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pairs import Spent, compare, median_interval, spelled, spent, take_turns, write
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor

from bench.data.augment import augment
from bench.data.catalog import Dataset, open_dataset
from bench.data.draws import Draws
from bench.methods.registry import build_method
from bench.study.methods import MaeOptions
from bench.study.spec import DataSpec
from bench.training.batches import Batches
from bench.training.optim import adamw, parameter_groups

POLICY = "crop_flip"
SIDE, CLASSES, QUALITY = 64, 10, 90


def make_files(root: Path, count: int) -> None:
    """Smooth random pictures with some noise, which compress about as photographs do."""
    numbers = np.random.default_rng(0)
    for number in range(count):
        rough = Image.fromarray(numbers.integers(0, 256, (6, 6, 3), np.uint8)).resize((SIDE, SIDE), Image.BICUBIC)
        noise = numbers.integers(-12, 13, (SIDE, SIDE, 3))
        picture = Image.fromarray(np.clip(np.asarray(rough).astype(int) + noise, 0, 255).astype(np.uint8))
        path = root / f"class{number % CLASSES}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=QUALITY)


def build(spec: DataSpec) -> Spent:
    """The store of an empty results folder; joblib's processes end within the time."""
    from joblib.externals.loky import get_reusable_executor

    def run() -> None:
        open_dataset(spec, Path(results))
        get_reusable_executor().shutdown(wait=True)

    with tempfile.TemporaryDirectory() as results:
        return spent(run)


def one_pass(root: Path) -> Spent:
    def run() -> None:
        loader = DataLoader(ImageFolder(str(root), ToTensor()), batch_size=256, num_workers=2)
        for _ in loader:
            pass

    return spent(run)


def start_again(spec: DataSpec, results: Path, times: int) -> dict[str, float]:
    """Median seconds of a second start."""
    found = [spent(lambda: open_dataset(spec, results)) for _ in range(times)]
    seconds = {kind: float(np.median([getattr(one, kind) for one in found])) for kind in ("wall", "processor")}
    print("second start: wall {wall:.3f} s, processor {processor:.3f} s".format(**seconds), flush=True)
    return seconds


class Epoch:
    """The same training steps, on batches from the store or from the device."""

    def __init__(self, dataset: Dataset, batch: int, steps: int, device: str) -> None:
        pool = dataset.splits.pretraining
        self.batches = Batches(dataset.images.images, pool, batch, 0, device=device)
        self.steps, self.batch, self.device = min(steps, self.batches.per_epoch), batch, device
        self.plain = [self.batches[step].clone() for step in range(self.steps)]
        self.views = [augment(images, POLICY, self.draws(step)) for step, images in enumerate(self.plain)]
        self.method, self.optimizer = {}, {}
        for policy in (POLICY, "none"):
            options = MaeOptions(encoder="vit_tiny", patch_size=8, augmentation=policy, batch_size=batch)
            method = build_method("mae", options, dataset.shape, dataset.mean, dataset.std, 0).to(device).train()
            self.method[policy] = method
            self.optimizer[policy] = adamw(parameter_groups(method, 0.05), 1e-4, (0.9, 0.95))

    def draws(self, step: int) -> Draws:
        return Draws(step, self.batch, device=self.device)

    def run(self, read: Callable[[int], Tensor], policy: str) -> Spent:
        return spent(lambda: self._steps(read, policy))

    def _steps(self, read: Callable[[int], Tensor], policy: str) -> None:
        method, optimizer = self.method[policy], self.optimizer[policy]
        for step in range(self.steps):
            loss, _ = method.loss(read(step), self.draws(step))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if self.device != "cpu":
            torch.cuda.synchronize()


def measure_epoch(dataset: Dataset, batch: int, steps: int, rounds: int, device: str) -> list[dict[str, object]]:
    epoch = Epoch(dataset, batch, steps, device)
    found = []
    for name, theirs in (
        ("reading", lambda: epoch.run(epoch.plain.__getitem__, POLICY)),
        ("reading and augmentation", lambda: epoch.run(epoch.views.__getitem__, "none")),
    ):
        theirs()  # warms the side up
        pairs = take_turns(lambda: epoch.run(epoch.batches.__getitem__, POLICY), theirs, rounds)
        line = compare(f"epoch, {name}", pairs, per=epoch.steps, unit="s a step")
        share = median_interval([pair.theirs.processor / pair.ours.processor for pair in pairs])
        print(f"    share of the speed kept: {spelled(share)[:-1] if share[1] is None else spelled(share)}; aim 0.95")
        found.append({**line, "ratio": share[0], "aim": 0.95})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,200 made files, few steps")
    parser.add_argument("--root", type=Path, default=None, help="folders of JPEG files by class; default: made ones")
    parser.add_argument("--files", type=int, default=13_500, help="files to make where there is no root")
    parser.add_argument("--rounds", type=int, default=10, help="rounds that are timed")
    parser.add_argument("--batch", type=int, default=128, help="images of a training step")
    parser.add_argument("--steps", type=int, default=20, help="training steps of a round, at most an epoch")
    parser.add_argument("--cores", type=int, default=1, help="threads of the training steps")
    parser.add_argument("--only", choices=["build", "epoch"], default=None)
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    options = parser.parse_args()
    if options.quick:
        options.files, options.rounds, options.batch, options.steps = 1200, min(3, options.rounds), 32, 4
    torch.set_num_threads(options.cores)
    summary: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = options.root or Path(folder) / "files"
        if options.root is None:
            make_files(root, options.files)
        spec, results = DataSpec(name="folder", root=str(root)), Path(folder) / "results"
        dataset = open_dataset(spec, results)
        summary["images"] = len(dataset.images.labels)
        if options.only != "epoch":
            pairs = take_turns(lambda: build(spec), lambda: one_pass(root), options.rounds)
            found = compare(f"build, {summary['images']:,} files", pairs)
            summary["build"] = {**found, "ratio": found["processor"][0], "aim": 1.5}
            summary["second_start"] = start_again(spec, results, options.rounds)
        if options.only != "build":
            device = "cuda" if torch.cuda.is_available() else "cpu"
            summary["epoch"] = measure_epoch(dataset, options.batch, options.steps, options.rounds, device)
    write(options.output, summary)


if __name__ == "__main__":
    main()
