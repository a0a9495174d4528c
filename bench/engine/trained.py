"""A pretraining under its key: looked up, trained in this process, kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from bench.engine.loggers import logged, logging_to
from bench.engine.pictures import write_pictures
from bench.engine.site import Site
from bench.engine.stages import train_stages
from bench.methods.base import Method
from bench.methods.encoder import save_encoder
from bench.methods.registry import build_method
from bench.seeds import named_seed
from bench.store.artifacts import Artifacts
from bench.store.files import read_json, write_json
from bench.study.methods import MethodOptions
from bench.training.loop import EpochReport, TrainingResult

RECORD = "training.json"
OnEpoch = Callable[[EpochReport], bool]


@dataclass(frozen=True)
class Trained:
    """How a pretraining ended and what it cost; kept as JSON beside the encoder."""

    status: str  # ok or diverged
    reason: str | None
    seconds: float
    gpu_seconds: float
    images_per_second: float
    losses: tuple[float, ...]  # mean of each epoch
    device: str
    parameters: int
    measurements: Mapping[str, float] = field(default_factory=dict)  # what the method says of its result


def find_trained(root: Path, key: str) -> tuple[Path, Trained] | None:
    """The folder and record of a finished pretraining, or None."""
    folder = Artifacts(root).find("encoders", key)
    record = None if folder is None else read_json(folder / RECORD)
    if folder is None or record is None:
        return None
    return folder, Trained(**{**record, "losses": tuple(record["losses"])})


def build(site: Site, key: str, name: str, options: MethodOptions) -> Method:
    """The method's network, initialised from the seed that the key names."""
    data = site.dataset()
    classes = len(data.images.class_names)
    return build_method(name, options, data.shape, data.mean, data.std, named_seed(key, "initialisation"), classes)


def train(
    site: Site,
    key: str,
    name: str,
    options: MethodOptions,
    *,
    rank: int = 0,
    world: int = 1,
    on_epoch: OnEpoch | None = None,
) -> tuple[Method, TrainingResult]:
    """Builds the method and trains it on the images for pretraining, from its last checkpoint where there is one.

    With `world` > 1 every worker calls this with its rank, inside an initialised process group.
    """
    site.settle()
    method = build(site, key, name, options)
    if method.fits:
        return method, fit(site, key, method)
    if not method.trains:
        return method, TrainingResult("ok", "", 0, 0.0, 0.0, [], [])
    data = site.dataset()
    if method.needs_masks:
        method.bind(data.images.masks, data.splits.pretraining)
    folder = Artifacts(site.root).path("checkpoints", key)
    folder.mkdir(parents=True, exist_ok=True)
    with logging_to(site.loggers if rank == 0 else (), site.root, key, options) as hand_over:
        result = train_stages(
            method,
            data.images.images,
            options,
            key,
            pool=data.splits.pretraining,
            checkpoints=folder,
            on_epoch=logged(on_epoch, hand_over),
            rank=rank,
            world=world,
            device=site.device,
        )
    return method, result


def fit(site: Site, key: str, method: Method) -> TrainingResult:
    """Fits the method to the unlabelled images for pretraining; the seconds count as a training's do."""
    data, began = site.dataset(), time.perf_counter()
    method.fit(data.images.images, data.splits.pretraining, named_seed(key, "fit"))
    return TrainingResult("ok", "", 0, time.perf_counter() - began, 0.0, [], [])


def keep(site: Site, key: str, method: Method, result: TrainingResult) -> None:
    """Stores encoder and record under the key, then drops the checkpoint. A diverged run leaves its record only."""
    artifacts = Artifacts(site.root)
    encoder = method.encoder()
    gpus = site.resources.gpus_per_worker * max(1, site.resources.workers)
    record = Trained(
        status=result.status,
        reason=result.reason or None,
        seconds=result.seconds,
        gpu_seconds=result.seconds * gpus,
        images_per_second=result.images_per_second,
        losses=tuple(result.losses),
        device=device_name(site),
        parameters=sum(parameter.numel() for parameter in encoder.parameters()),
        measurements=(method.measurements() if result.status == "ok" else {}) | parts_taken(result),
    )
    with artifacts.writing("encoders", key) as folder:
        if result.status == "ok":
            write_pictures(folder, site.dataset(), method)
            save_encoder(encoder.cpu().eval(), folder)
            method.save_extra(folder)
        write_json(folder / RECORD, asdict(record))
    artifacts.remove("checkpoints", key)


def parts_taken(result: TrainingResult) -> dict[str, float]:
    """What the rows say of a batch that did not fit in memory: in how many parts it was taken."""
    return {"micro_batches": result.micro_batches} if result.micro_batches > 1 else {}


def device_name(site: Site) -> str:
    """What the numbers were computed on, for the row."""
    if site.device == "cuda":
        return torch.cuda.get_device_name()
    return f"cpu, {site.resources.cpus_per_worker} thread{'s' if site.resources.cpus_per_worker > 1 else ''}"
