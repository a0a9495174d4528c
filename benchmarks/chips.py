"""A segmentation epoch from chips in the image store against decoding each chip and mask by PIL, item by item.

    python benchmarks/chips.py            # 2,000 chips of 128 x 128
    python benchmarks/chips.py --quick    # 200 chips of 64 x 64

Ours reads memory-mapped chips and masks as a segmentation training does (`Source`). Theirs is a Dataset that opens a
JPEG file and a PNG mask, mirrors and turns both, and a DataLoader of 2 workers, started in every epoch and counted.
`loading` stops at the batch; `epoch` takes a training step of the same network on it. The sides take turns.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from pairs import Spent, compare, spent, take_turns, write
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from bench.protocols.batches import batch_places
from bench.protocols.dense_training import Source

CLASSES, IGNORE, VIEWS = 6, 255, 8
Batch = tuple[Tensor, Tensor]  # float [N, 3, H, W] in [0, 1] and int64 [N, H, W]


def make_chips(folder: Path, count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Chips and masks of coloured patches: as files, and as memory-mapped arrays [n, H, W, 3] and [n, H, W]."""
    numbers = np.random.default_rng(0)
    palette = numbers.integers(0, 256, (CLASSES, 3))
    chips, masks = np.empty((count, side, side, 3), np.uint8), np.empty((count, side, side), np.uint8)
    for number in range(count):
        rough = numbers.integers(0, CLASSES, (8, 8)).astype(np.uint8)
        mask = np.asarray(Image.fromarray(rough).resize((side, side), Image.NEAREST))
        pixels = np.clip(palette[mask] + numbers.integers(-20, 21, (side, side, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=90)
        Image.fromarray(mask).save(folder / f"{number}.png")
        chips[number], masks[number] = pixels, mask
    np.save(folder / "images.npy", chips)
    np.save(folder / "masks.npy", masks)
    return tuple(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "masks"))  # type: ignore[return-value]


class Plain(Dataset[Batch]):
    """Chips as files, one at a time."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, item: int) -> Batch:
        chip, mask = (Image.open(self.folder / f"{item}.{kind}") for kind in ("jpg", "png"))
        pixels, classes = np.asarray(chip.convert("RGB")), np.asarray(mask)
        view = int(torch.randint(VIEWS, ()))
        pixels, classes = (np.rot90(each, view % 4) for each in (pixels, classes))
        if view >= 4:
            pixels, classes = pixels[:, ::-1], classes[:, ::-1]
        image = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float().div_(255)
        return image, torch.from_numpy(classes.copy()).long()


class Network(nn.Module):
    """Three convolutions down, one up: little enough for the loading to be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, CLASSES, 1)
        )

    def forward(self, images: Tensor) -> Tensor:
        return functional.interpolate(self.down(images), images.shape[-2:], mode="bilinear")


def our_batches(chips: np.ndarray, masks: np.ndarray, size: int) -> Iterator[Batch]:
    """An epoch of `Source`; the network it sends images through is the identity, so that images come out."""
    steps, table = len(chips) // size, np.arange(256, dtype=np.uint8)
    recipe = SimpleNamespace(images=chips, masks=masks, table=table, views=tuple(range(VIEWS)), device="cpu")
    recipe.frozen, recipe.options = False, SimpleNamespace(batch_size=size)
    source = Source(cast(Any, recipe), cast(Any, nn.Identity()), np.arange(len(chips)), steps)
    places = batch_places(np.zeros(len(chips), np.int64), 1, size, steps, "none", "benchmark")
    for step, batch in enumerate(places):
        yield source.batch(batch, step)


def their_batches(folder: Path, count: int, size: int) -> Iterator[Batch]:
    yield from DataLoader(Plain(folder, count), size, shuffle=True, num_workers=2, drop_last=True)


def epoch(batches: Callable[[], Iterator[Batch]], network: Network | None) -> Spent:
    """One epoch, with training steps where there is a network."""
    optimizer = None if network is None else torch.optim.Adam(network.parameters(), 1e-3, fused=True)

    def run() -> None:
        for images, target in batches():
            if network is not None and optimizer is not None:
                optimizer.zero_grad()
                functional.cross_entropy(network(images), target, ignore_index=IGNORE).backward()
                optimizer.step()

    return spent(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 chips of 64 x 64, 3 rounds")
    parser.add_argument("--chips", type=int, default=2000)
    parser.add_argument("--side", type=int, default=128, help="pixels")
    parser.add_argument("--batch", type=int, default=16, help="chips of a step")
    parser.add_argument("--rounds", type=int, default=10, help="rounds that are timed")
    parser.add_argument("--cores", type=int, default=1, help="threads of the training steps")
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    options = parser.parse_args()
    if options.quick:
        options.chips, options.side, options.rounds = 200, 64, min(3, options.rounds)
    torch.set_num_threads(options.cores)
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chips, masks = make_chips(folder, options.chips, options.side)
        ours = lambda: our_batches(chips, masks, options.batch)  # noqa: E731
        theirs = lambda: their_batches(folder, options.chips, options.batch)  # noqa: E731
        for part, network in (("loading", None), ("epoch", Network())):
            epoch(ours, network)  # warms up
            pairs = take_turns(lambda n=network: epoch(ours, n), lambda n=network: epoch(theirs, n), options.rounds)
            line = compare(f"{part}, {options.chips:,} chips", pairs)
            found.append({**line, "ratio": line["processor"][0], "aim": 2.0})
    write(options.output, {"side": options.side, "batch": options.batch, "parts": found})


if __name__ == "__main__":
    main()
