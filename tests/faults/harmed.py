"""Files that are harmed, disks that are full, losses that are no numbers, memory that does not suffice."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.methods.mae import Mae
from bench.methods.simclr import Simclr
from tests.faults.ground import Ground, Run, Tally, compare, damage, pick
from tests.faults.processes import kill_after, wait
from tests.faults.study import Patch

# What is harmed, and what must go for it to be read again: kind -> files, folders to drop
_KEPT: dict[str, tuple[str, tuple[str, ...]]] = {
    "fragment": ("rows/*.parquet", ()),
    "features": ("artifacts/features/*/*", ("rows",)),
    "encoder": ("artifacts/encoders/*/*", ("rows", "artifacts/features")),
    "images": ("artifacts/images/*/*", ("rows", "artifacts/features")),
    "splits": ("splits/*.parquet", ("rows", "artifacts/features")),
    "record": ("data/*.json", ("rows", "artifacts/features")),
    "marker": ("artifacts/*/*/.complete", ("rows",)),
}


def harmed(kind: str) -> Callable[[Ground, Tally, int], None]:
    """A case: a file of this kind is cut short, or one of its bits flipped, in results that are complete."""

    def case(ground: Ground, tally: Tally, faults: int) -> None:
        rng, (pattern, hidden), flat = ground.rng(tally.case), _KEPT[kind], kind == "fragment"
        while tally.faults < faults:
            run = ground.finished()
            for name in hidden:
                shutil.rmtree(run.root / name)
            left = [path for path in run.root.glob(pattern) if path.is_file() and path.stat().st_size]
            for _ in range(min(faults - tally.faults, 3 if kind in ("fragment", "features", "encoder") else 1)):
                chosen = pick(rng, left)
                # of a folder that is put aside as one, one file
                left = [path for path in left if path != chosen and (flat or path.parent != chosen.parent)]
                tally.notes[damage(rng, chosen)] += 1
                tally.faults += 1
                if not left:
                    break
            run.finish()
            tally.notes["put in quarantine"] += len(run.look()["quarantine"])
            compare(tally, run, (0, 0 if kind == "fragment" else ground.truth.scored))
            run.drop()

    return case


def checkpoint(ground: Ground, tally: Tally, faults: int) -> None:
    """A training is killed, its checkpoint harmed; the next sitting must end with the same bits."""
    rng, truth = ground.rng(tally.case), ground.truth
    while tally.faults < faults:
        run = ground.fresh()
        while tally.faults < faults:
            if not kill_after(run.start(), float(rng.uniform(0.1, 0.8) * truth.seconds)):
                break
            found = [path for path in run.root.glob("artifacts/checkpoints/*/*.pt") if path.stat().st_size]
            if found:
                tally.notes[damage(rng, pick(rng, found))] += 1
                tally.faults += 1
        run.finish()
        tally.notes["put aside"] += run.log.read_text().count("ignoring the damaged checkpoint")
        compare(tally, run, (truth.steps, truth.scored))
        run.drop()


def full_disk(ground: Ground, tally: Tally, faults: int) -> None:
    """Results on a small file system that is made larger by chance, failure by failure, until the study fits."""
    rng, truth = ground.rng(tally.case), ground.truth
    needed = sum(path.stat().st_size for path in truth.run.root.rglob("*") if path.is_file())
    while tally.faults < faults:
        run = ground.fresh()
        with _small_disk(run, tally) as resize:
            if resize is None:
                return
            size = 0
            while tally.faults < faults:
                size += int(rng.uniform(0.02, 0.25) * needed) + 8192
                resize(size)
                status = wait(run.start())
                if status == 0:
                    break
                tally.faults += 1
                tally.notes["said in one line" if status > 0 else f"killed by signal {-status}"] += 1
            resize(8 * needed + 2**24)
            run.finish()
            compare(tally, run, (truth.steps, truth.scored))
        run.drop()


@contextmanager
def _small_disk(run: Run, tally: Tally) -> Iterator[Callable[[int], None] | None]:
    run.root.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", run.root], capture_output=True, text=True
    )
    if mounted.returncode:
        tally.skipped = f"mount: {mounted.stderr.strip()}"
        yield None
        return
    try:
        yield lambda size: _remount(run.root, size)
    finally:
        subprocess.run(["umount", "-l", run.root], check=True)


def _remount(root: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", root], check=True)


def not_a_number(ground: Ground, tally: Tally, faults: int) -> None:
    """The loss of one method turns NaN at a random step: its rows say so in one line, the others are untouched."""
    rng = ground.rng(tally.case)
    for _ in range(faults):
        run, step = ground.fresh(), int(rng.integers(8))
        if wait(run.start(_turns_nan(step))):
            raise RuntimeError(run.log.read_text()[-2000:])
        tally.faults += 1
        reason = f"the loss was nan at step {step} "

        def same(method: str, row: Any, undisturbed: Any, reason: str = reason) -> bool:
            if method != "mae":
                return bool(row == undisturbed)
            return row["status"] == "diverged" and row["reason"].startswith(reason)

        run.finish()  # nothing is left to do: it is the setting that diverges, not the machine
        compare(tally, run, run.done(), same)
        run.drop()


def _turns_nan(step: int) -> Patch:
    def patch() -> None:
        loss, seen = Mae.loss, {}

        def broken(method: Mae, *arguments: Any) -> tuple[Tensor, dict[str, Tensor]]:
            value, logs = loss(method, *arguments)
            seen[id(method)] = seen.get(id(method), -1) + 1
            return (value * float("nan") if seen[id(method)] == step else value), logs

        Mae.loss = broken  # type: ignore[method-assign]

    return patch


def no_memory(ground: Ground, tally: Tally, faults: int) -> None:
    """More images at once than the memory holds: `mae` goes on in parts, `simclr` says why it cannot."""
    rng = ground.rng(tally.case)
    for _ in range(faults):
        run, most = ground.fresh(), int(rng.choice([4, 8, 16]))
        run.study["methods"]["simclr"] = {"encoder": "conv_nano", "epochs": 1, "batch_size": 32}
        error: type[Exception] = (torch.OutOfMemoryError, MemoryError)[int(rng.integers(2))]
        wait(run.start(_lacks_memory(most, error)))
        tally.faults += 1
        rows = run.look()["rows"].values()
        said = {row["reason"] for row in rows if row["method"] == "simclr"}
        parts = [row for row in rows if row["method"] == "mae" and f'"micro_batches": {32 // most}' in row["details"]]
        if len(said) != 1 or "depends on the whole batch" not in said.pop() or len(parts) != 6:
            tally.different += 1
        del run.study["methods"]["simclr"]

        def same(method: str, row: Any, undisturbed: Any) -> bool:
            if method != "mae":
                return bool(row == undisturbed)
            return row["status"] == "ok" and abs(row["accuracy"] - undisturbed["accuracy"]) < 0.1

        run.finish()
        shutil.rmtree(run.root / "rows")  # those of simclr, which the study no longer asks for, would count as strange
        run.finish()
        compare(tally, run, run.done(), same)
        run.drop()


def _lacks_memory(most: int, error: type[Exception]) -> Patch:
    def patch() -> None:
        for method in (Mae, Simclr):
            _limit(method, most, error)

    return patch


def _limit(method: type, most: int, error: type[Exception]) -> None:
    loss = method.loss

    def limited(self: Any, images: Tensor, draws: Any) -> tuple[Tensor, dict[str, Tensor]]:
        value = loss(self, images, draws)
        if len(images) > most:
            raise error(f"no memory for {len(images)} images")
        return value

    method.loss = limited
