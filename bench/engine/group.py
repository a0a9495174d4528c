"""The training loop in a Ray Train worker group: data-parallel over `resources.workers` processes."""

from __future__ import annotations

import logging
import shutil
import tempfile
from typing import Any

import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from bench.engine.site import Site
from bench.engine.trained import find_trained, keep, train
from bench.study.methods import MethodOptions


def train_in_group(site: Site, key: str, name: str, options: MethodOptions) -> None:
    """Runs the loop on every worker of a group; rank 0 stores the encoder. Blocks until it is done.

    The loop keeps its own checkpoint under the content key, so a group that lost a worker is started anew and goes on.
    Ray Train's own checkpoints are not used: one mechanism serves the group and the single process.
    """
    resources = site.resources
    per_worker = {"CPU": float(resources.cpus_per_worker), "GPU": float(resources.gpus_per_worker)}
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    storage = tempfile.mkdtemp(prefix="bench-train-")  # Train wants a folder for its own bookkeeping
    try:
        TorchTrainer(
            _worker,
            train_loop_config={"site": site, "key": key, "name": name, "options": options},
            scaling_config=ScalingConfig(
                num_workers=resources.workers,
                use_gpu=resources.gpus_per_worker > 0,
                resources_per_worker={resource: amount for resource, amount in per_worker.items() if amount},
            ),
            run_config=RunConfig(name=key, storage_path=storage, failure_config=FailureConfig(max_failures=3)),
        ).fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)


def _worker(config: dict[str, Any]) -> None:
    site: Site = config["site"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    if find_trained(site.root, config["key"]) is not None:
        return
    method, result = train(site, config["key"], config["name"], config["options"], rank=rank, world=world)
    if rank == 0:
        keep(site, config["key"], method, result)
