"""Two workers over gloo follow one worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.methods.base import Method
from bench.study.methods import METHODS, TrainedOptions
from bench.training.loop import pretrain

TRAINED = [name for name, options in METHODS.items() if options.trains]
# balanced over the global batch; sharp targets multiply the rounding of single precision, and so does a large lr
MORE: list[tuple[str, dict[str, Any]]] = [("dino", {"centring": "sinkhorn", "lr": 1e-3})]
Make = Callable[..., tuple[Method, TrainedOptions]]


def together(tasks: list[dict[str, Any]], images: np.ndarray, folder: Path) -> list[list[dict[str, Any]]]:
    """What each of two workers answers to the tasks."""
    np.save(folder / "images.npy", images)
    (folder / "tasks.json").write_text(json.dumps(tasks))
    command = [sys.executable, str(Path(__file__).with_name("worker.py"))]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen([*command, str(rank), "2", str(folder)], env=environment, stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    errors = [worker.communicate(timeout=300)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(errors)
    return [json.loads((folder / f"answers{rank}.json").read_text()) for rank in (0, 1)]


def test_two_workers_follow_one_and_stop_together(make: Make, images: np.ndarray, tmp_path: Path) -> None:
    chosen = [(name, {}) for name in TRAINED] + MORE
    tasks = [{"name": name, "options": make(name, **changes)[1].model_dump(), "stop": 99} for name, changes in chosen]
    tasks.append(tasks[-1] | {"stop": 2})
    for answers in together(tasks, images, tmp_path):
        for (name, changes), answer in zip(chosen, answers[:-1], strict=True):
            method, options = make(name, **changes)
            alone = pretrain(method, images, options, 1)
            np.testing.assert_allclose(answer["losses"], alone.step_losses, rtol=1e-4, err_msg=name)
            norm = torch.cat([value.flatten().double() for value in method.state_dict().values()]).norm().item()
            assert answer["norm"] == pytest.approx(norm, rel=1e-4), name
        assert answers[-1]["status"] == "pruned"
        assert len(answers[-1]["losses"]) == 2 * 2
