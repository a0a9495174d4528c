"""One of several workers that pretrain together over gloo; started by test_workers.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from bench.data.shape import ImageShape
from bench.methods.registry import build_method
from bench.study.methods import METHODS
from bench.training.loop import pretrain
from tests.training.conftest import CLASSES, bound


def main(rank: int, world: int, folder: Path) -> None:
    """Runs every training in tasks.json: [{"name", "options", "stop"}], stopping where rank 1 says so."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=world)
    images = np.load(folder / "images.npy")
    answers = []
    for task in json.loads((folder / "tasks.json").read_text()):
        options = METHODS[task["name"]](**task["options"])
        shape, statistics = ImageShape(1, 8, 8), ([0.3], [0.3])
        method = bound(build_method(task["name"], options, shape, *statistics, rank, CLASSES), images)  # rank 0's count
        result = pretrain(
            method, images, options, 1, rank=rank, world=world,
            on_epoch=lambda report, stop=task["stop"]: rank == 0 or report.epoch < stop,
        )  # fmt: skip
        norm = torch.cat([value.flatten().double() for value in method.state_dict().values()]).norm().item()
        answers.append({"losses": result.step_losses, "status": result.status, "norm": norm})
    (folder / f"answers{rank}.json").write_text(json.dumps(answers))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
