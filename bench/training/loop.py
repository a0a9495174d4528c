"""The loop that pretrains any method, on one worker or on several."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from bench.data.draws import Draws
from bench.methods.base import Method
from bench.methods.smp_unet import SmpUnetEncoder
from bench.methods.timm_encoder import TimmEncoder
from bench.seeds import named_seed
from bench.study import versions
from bench.study.encoders import is_timm
from bench.study.methods import MethodOptions, TrainedOptions
from bench.training.batches import Batches
from bench.training.checkpoint import read_checkpoint, save_checkpoint
from bench.training.memory import is_out_of_memory, more_parts
from bench.training.optim import adamw, cosine, parameter_groups, set_lr, set_weight_decay
from bench.training.precision import mixed_precision

log = logging.getLogger(__name__)

CUDA_LOSSES = 32  # steps between looks at the loss on a GPU, where every look waits for the device


@dataclass(frozen=True)
class EpochReport:
    """How a pretraining stands behind an epoch (counted from 1); the speed is over all workers, of this sitting.

    `loss` is the mean of the epoch's `step_losses`.
    """

    epoch: int
    epochs: int
    loss: float
    images_per_second: float
    method: Method
    step_losses: tuple[float, ...] = ()


@dataclass(frozen=True)
class TrainingResult:
    """How a pretraining ended.

    Attributes:
        status: "ok"; "diverged" where a loss or a weight was not finite; "pruned" where `on_epoch` said stop.
        reason: one line where the status is not "ok", else empty.
        epochs: completed.
        seconds: wall seconds of all sittings.
        images_per_second: over all workers, of all sittings.
        losses: mean loss of each completed epoch.
        step_losses: loss of every step, over the global batch.
        micro_batches: parts in which a batch was taken at the end; more than 1 where it did not fit in memory.
    """

    status: Literal["ok", "diverged", "pruned"]
    reason: str
    epochs: int
    seconds: float
    images_per_second: float
    losses: list[float]
    step_losses: list[float]
    micro_batches: int = 1


OnEpoch = Callable[[EpochReport], bool]


def pretrain(
    method: Method,
    images: np.ndarray,
    options: MethodOptions,
    seed: int,
    *,
    pool: np.ndarray | None = None,
    rank: int = 0,
    world: int = 1,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
    checkpoint_end: bool = False,
    on_epoch: OnEpoch | None = None,
) -> TrainingResult:
    """Trains a method in place.

    Equal arguments give equal weights, bit for bit on a CPU with a given number of threads, however often the training
    was interrupted; the number of workers changes them by rounding alone. Where the result is "diverged" the method is
    left as the last step made it, and no use.

    Where a batch does not fit in memory it is taken in parts from then on, if the loss is a mean over samples
    (`Method.batch_independent`): with the same draws, the gradients are those of the batch but for rounding.

    Args:
        method: from `build_method`, bound to the masks of the same pool where it needs masks; moved to the device.
        images: uint8 [N, H, W, C], memory-mapped or not.
        options: the method's own. A method that does not train returns at once.
        seed: of the order of images and of each step's draws.
        pool: int64, numbers of the images to train on; None: all of them.
        rank: number of this worker; with world > 1 the process group is the caller's, already initialised.
        world: number of workers; they share the batch of `options.batch_size`.
        device: of this worker.
        checkpoint: file to continue from where it exists, and to write to; rank 0 reads and writes.
        checkpoint_seconds: wall seconds between writes.
        checkpoint_end: whether to write behind the last step too, for a pretraining of several trainings.
        on_epoch: called on every worker behind every epoch; where any worker's call returns False, all stop, with a
            checkpoint from which another call goes on.

    Raises:
        UserError: the batch does not fit the pool or the workers, or the memory, and cannot be taken in parts.
    """
    if not isinstance(options, TrainedOptions):
        return TrainingResult("ok", "", 0, 0.0, 0.0, [], [])
    pool = np.arange(len(images)) if pool is None else np.asarray(pool)
    batches = Batches(
        images, pool, options.batch_size, seed, targets=method.targets, rank=rank, world=world, device=device
    )
    training = _Training(method, options, seed, batches, rank, world, torch.device(device))
    training.resume(checkpoint)
    result = training.run(checkpoint, checkpoint_seconds, on_epoch)
    if checkpoint is not None and (result.status == "pruned" or (checkpoint_end and result.status == "ok")):
        training.save(checkpoint)
    return result


@dataclass
class _Progress:
    """What a checkpoint holds beside the weights and the optimiser."""

    step: int = 0
    seconds: float = 0.0
    step_losses: list[float] = field(default_factory=list)
    micro_batches: int = 1


class _Training:
    def __init__(
        self,
        method: Method,
        options: TrainedOptions,
        seed: int,
        batches: Batches,
        rank: int,
        world: int,
        device: torch.device,
    ) -> None:
        self.method = method.to(device).train()
        self.options, self.seed, self.batches = options, seed, batches
        self.rank, self.world, self.device = rank, world, device
        self.steps = options.epochs * batches.per_epoch
        self.optimizer = self.method.optimizer() or adamw(
            parameter_groups(self.method, options.weight_decay), options.lr, options.betas
        )
        self.identity = {
            "versions": [versions.TRAINING, versions.DATA, options.version]
            + [versions.BF16] * (options.precision == "bf16")
            + [versions.TIMM] * is_timm(options.encoder),
            "options": options.model_dump(mode="json"),
            "seed": seed,
            "pool": len(batches.pool),
        }
        self.progress = _Progress()
        self.pending: list[Tensor] = []
        self.look_every = CUDA_LOSSES if device.type == "cuda" else 1

    def resume(self, checkpoint: Path | None) -> None:
        """Continues from the checkpoint where there is one of this very training."""
        state = self._shared(read_checkpoint(checkpoint) if self.rank == 0 else None)
        if state is None:
            return
        if state.get("identity") != self.identity:
            log.warning("ignoring the checkpoint of another training, this one starts over: %s", checkpoint)
            return
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = _Progress(**state["progress"])
        log.info("continuing at step %d of %d", self.progress.step, self.steps)

    def run(self, checkpoint: Path | None, checkpoint_seconds: float, on_epoch: OnEpoch | None) -> TrainingResult:
        network = self._network()
        first, before, saved = self.progress.step, self.progress.seconds, time.perf_counter()
        while self.progress.step < self.steps:
            started = time.perf_counter()
            self.step(network)
            ends_epoch = self.progress.step % self.batches.per_epoch == 0
            reason = self.look() if ends_epoch or len(self.pending) >= self.look_every else ""
            self.progress.seconds += time.perf_counter() - started  # what `on_epoch` and checkpoints take is not ours
            if reason:
                return self.result("diverged", reason)
            speed = (self.progress.step - first) * self.options.batch_size / (self.progress.seconds - before)
            if ends_epoch and not self.report(on_epoch, speed):
                return self.result("pruned", f"stopped after epoch {self.progress.step // self.batches.per_epoch}")
            if checkpoint is not None and not self.pending and time.perf_counter() - saved >= checkpoint_seconds:
                self.save(checkpoint)
                saved = time.perf_counter()
        if not all(bool(parameter.isfinite().all()) for parameter in self.method.parameters()):
            return self.result("diverged", "the last step left weights that are not finite")
        return self.result("ok", "")

    def step(self, network: nn.Module) -> None:
        """One update; its loss is kept on the device until somebody looks."""
        step, options = self.progress.step, self.options
        set_lr(self.optimizer, options.lr * cosine(step, self.steps, options.warmup))
        if (weight_decay := options.weight_decay_at(step, self.steps)) is not None:
            set_weight_decay(self.optimizer, weight_decay)
        self.method.begin_step(step, self.steps, step // self.batches.per_epoch)
        loss = self.gradients(network)
        self.method.adjust_gradients()
        self.optimizer.step()
        self.method.end_step()
        self.pending.append(loss)
        self.progress.step += 1

    def gradients(self, network: nn.Module) -> Tensor:
        """Computes the gradients of the step and returns its loss, in smaller parts where memory does not suffice."""
        while True:
            try:
                return self.accumulate(network, self.progress.micro_batches)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                parts = more_parts(
                    self.method, self.options.name, self.options.batch_size, self.progress.micro_batches, self.world
                )
            log.warning("out of memory: a batch of %d is taken in %d parts", self.options.batch_size, parts)
            self.progress.micro_batches = parts
            self.optimizer.zero_grad()
            torch.cuda.empty_cache()

    def accumulate(self, network: nn.Module, parts: int) -> Tensor:
        """Sums the gradients over the parts of the batch; its loss, the mean of theirs."""
        step, losses = self.progress.step, []
        images, targets = self.batches[step], self.batches.targets(step)
        self.optimizer.zero_grad()
        for part, some in enumerate(images.chunk(parts)):
            rank, world = self.rank * parts + part, self.world * parts  # the numbers of the batch, those of this part
            draws = Draws(named_seed(self.seed, "step", step), self.options.batch_size, rank, world, self.device)
            with (
                torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []),
                mixed_precision(self.device, self.options.precision),
            ):
                torch.manual_seed(named_seed(self.seed, "network", step, rank))  # of dropout, in networks that have it
                loss, _ = network(some, draws, *(target.chunk(parts)[part] for target in targets))
            (loss / parts).backward()
            losses.append(loss.detach())
        return torch.stack(losses).mean()

    def look(self) -> str:
        """Moves the pending losses to the record; names the first that is not finite, else an empty string."""
        losses = torch.stack(self.pending).float()
        if self.world > 1:
            distributed.all_reduce(losses)
        values = (losses / self.world).tolist()
        self.progress.step_losses += values
        self.pending.clear()
        bad = [place for place, value in enumerate(values) if not np.isfinite(value)]
        if not bad:
            return ""
        step = len(self.progress.step_losses) - len(values) + bad[0]
        return f"the loss was {values[bad[0]]} at step {step} (epoch {step // self.batches.per_epoch + 1})"

    def report(self, on_epoch: OnEpoch | None, speed: float) -> bool:
        """Tells `on_epoch`; whether every worker wants to go on."""
        proceed = True
        if on_epoch is not None:
            epoch = self.progress.step // self.batches.per_epoch
            losses = tuple(self.progress.step_losses[-self.batches.per_epoch :])
            loss = float(np.mean(losses))
            proceed = on_epoch(EpochReport(epoch, self.options.epochs, loss, speed, self.method, losses))
            self.method.train()
        if self.world == 1:
            return proceed
        stop = torch.tensor(0 if proceed else 1, device=self.device)
        distributed.all_reduce(stop)
        return stop.item() == 0

    def save(self, checkpoint: Path) -> None:
        if self.rank == 0:
            weights, optimizer = self.method.state_dict(), self.optimizer.state_dict()
            state = {"identity": self.identity, "method": weights, "optimizer": optimizer}
            save_checkpoint(checkpoint, state | {"progress": vars(self.progress)})

    def losses(self) -> list[float]:
        """Mean loss of each completed epoch."""
        per_epoch = self.batches.per_epoch
        complete = len(self.progress.step_losses) // per_epoch
        return [float(np.mean(self.progress.step_losses[e * per_epoch : (e + 1) * per_epoch])) for e in range(complete)]

    def result(self, status: Literal["ok", "diverged", "pruned"], reason: str) -> TrainingResult:
        self.method.eval()
        losses, seconds = self.losses(), self.progress.seconds
        speed = self.progress.step * self.options.batch_size / seconds if seconds else 0.0
        step_losses, parts = self.progress.step_losses, self.progress.micro_batches
        return TrainingResult(status, reason, len(losses), seconds, speed, losses, step_losses, parts)

    def _network(self) -> nn.Module:
        """The method as several workers call it: gradients averaged, batch norms synchronised where torch can."""
        if self.world == 1:
            return self.method
        on_gpu = self.device.type == "cuda"
        network = nn.SyncBatchNorm.convert_sync_batchnorm(self.method) if on_gpu else self.method
        # the networks of a library may hold parameters that no feature map depends on
        unused = isinstance(self.method.encoder(), TimmEncoder | SmpUnetEncoder)
        devices = [self.device] if on_gpu else None
        return DistributedDataParallel(network, device_ids=devices, find_unused_parameters=unused)

    def _shared(self, state: dict[str, Any] | None) -> dict[str, Any] | None:
        """Rank 0's state on every rank."""
        if self.world == 1:
            return state
        box = [state]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]
