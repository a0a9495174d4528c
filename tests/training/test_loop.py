from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.base import Method
from bench.methods.registry import build_method
from bench.study.methods import METHODS, RandomInitOptions, TrainedOptions
from bench.training import batches as batches_module
from bench.training.batches import Batches
from bench.training.checkpoint import read_checkpoint, save_checkpoint
from bench.training.loop import EpochReport, TrainingResult, pretrain

Make = Callable[..., tuple[Method, TrainedOptions]]
TRAINED = [name for name, options in METHODS.items() if options.trains]


def weights(method: Method) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in method.state_dict().values()])


@pytest.mark.parametrize("name", TRAINED)
def test_the_loss_goes_down_and_the_books_are_kept(name: str, make: Make, images: np.ndarray) -> None:
    method, options = make(name, epochs=12)
    reports: list[EpochReport] = []
    result = pretrain(method, images, options, 1, on_epoch=lambda report: reports.append(report) or True)
    assert (result.status, result.reason, result.epochs) == ("ok", "", 12)
    assert result.losses[-1] < result.losses[0]
    assert len(result.step_losses) == 12 * (40 // 16)
    np.testing.assert_allclose(result.losses, np.reshape(result.step_losses, (12, 2)).mean(axis=1))
    assert [report.epoch for report in reports] == list(range(1, 13))
    assert [report.loss for report in reports] == result.losses
    assert reports[0].method is method
    assert result.seconds > 0
    assert result.images_per_second == pytest.approx(24 * 16 / result.seconds)
    assert not method.training


@pytest.mark.parametrize("name", TRAINED)
def test_the_seed_decides_and_the_global_generator_is_left_alone(name: str, make: Make, images: np.ndarray) -> None:
    runs = []
    for seed in (1, 1, 2):
        method, options = make(name)
        before = torch.random.get_rng_state()
        result = pretrain(method, images, options, seed)
        assert torch.equal(torch.random.get_rng_state(), before)
        runs.append((result.step_losses, weights(method)))
    assert runs[0][0] == runs[1][0] != runs[2][0]
    assert torch.equal(runs[0][1], runs[1][1])


class StopHereError(Exception):
    pass


@pytest.mark.parametrize("name", TRAINED)
def test_an_interrupted_training_continues_bit_for_bit(
    name: str, make: Make, images: np.ndarray, tmp_path: Path
) -> None:
    method, options = make(name)
    whole = pretrain(method, images, options, 1)
    checkpoint = tmp_path / "checkpoint.pt"

    def interrupt(report: EpochReport) -> bool:
        if report.epoch == 2:
            raise StopHereError
        return True

    first, _ = make(name)
    with pytest.raises(StopHereError):
        pretrain(first, images, options, 1, checkpoint=checkpoint, checkpoint_seconds=0, on_epoch=interrupt)
    second, _ = make(name, seed=99)  # its own initialisation is overwritten
    epochs: list[int] = []
    resumed = pretrain(
        second, images, options, 1, checkpoint=checkpoint, on_epoch=lambda report: epochs.append(report.epoch) or True
    )
    assert epochs == [2, 3]
    assert resumed.step_losses == whole.step_losses
    assert torch.equal(weights(second), weights(method))
    assert torch.load(checkpoint, weights_only=True)["progress"]["seconds"] < resumed.seconds


@pytest.mark.parametrize("damage", ["bytes", "empty", "foreign", "other seed"])
def test_a_checkpoint_that_does_not_fit_is_ignored_and_the_reason_logged(
    damage: str, make: Make, images: np.ndarray, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    method, options = make("unet_masked")
    checkpoint = tmp_path / "checkpoint.pt"
    if damage == "other seed":
        pretrain(make("unet_masked")[0], images, options, 2, checkpoint=checkpoint, checkpoint_seconds=0)
    elif damage == "foreign":
        save_checkpoint(checkpoint, {"weights": torch.zeros(3)})
    else:
        checkpoint.write_bytes(b"" if damage == "empty" else b"PK\x03\x04 not a checkpoint")
    result = pretrain(method, images, options, 1, checkpoint=checkpoint)
    reference, _ = make("unet_masked")
    assert result.step_losses == pretrain(reference, images, options, 1).step_losses
    assert "ignoring the" in caplog.text


def test_a_checkpoint_runs_no_code(make: Make, images: np.ndarray, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "sprung",)  # type: ignore[return-value]

    method, options = make("unet_masked")
    torch.save({"identity": Trap()}, tmp_path / "checkpoint.pt")
    assert pretrain(method, images, options, 1, checkpoint=tmp_path / "checkpoint.pt").status == "ok"
    assert not (tmp_path / "sprung").exists()


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})
    with pytest.raises(Exception, match="lambda"):
        save_checkpoint(path, {"step": lambda: None})
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", TRAINED)
def test_a_loss_that_is_not_finite_ends_the_training(name: str, make: Make, images: np.ndarray) -> None:
    method, options = make(name, epochs=20, lr=1e30, warmup=0)
    result = pretrain(method, images, options, 1)
    assert result.status == "diverged"
    step = len(result.step_losses) - 1
    assert result.reason == f"the loss was {result.step_losses[-1]} at step {step} (epoch {step // 2 + 1})"
    assert not np.isfinite(result.step_losses[-1])
    assert np.isfinite(result.step_losses[:-1]).all()
    assert result.epochs == step // 2 + (step % 2 == 1)


def test_weights_that_are_not_finite_behind_a_finite_loss_are_noticed(make: Make, images: np.ndarray) -> None:
    method, options = make("unet_masked", epochs=1, lr=1e38, warmup=0)
    result = pretrain(method, images[:16], options, 1)
    assert np.isfinite(result.step_losses).all()
    assert (result.status, result.reason) == ("diverged", "the last step left weights that are not finite")


def test_on_epoch_can_stop(make: Make, images: np.ndarray) -> None:
    method, options = make("simclr")
    result = pretrain(method, images, options, 1, on_epoch=lambda report: report.epoch < 2)
    assert (result.status, result.reason, result.epochs) == ("pruned", "stopped after epoch 2", 2)
    assert len(result.losses) == 2


def test_a_training_that_was_stopped_goes_on(make: Make, images: np.ndarray, tmp_path: Path) -> None:
    whole, options = make("simclr")
    straight = pretrain(whole, images, options, 1)
    checkpoint = tmp_path / "checkpoint.pt"
    stopped, _ = make("simclr")
    pretrain(stopped, images, options, 1, checkpoint=checkpoint, on_epoch=lambda report: report.epoch < 2)
    resumed, _ = make("simclr")
    result = pretrain(resumed, images, options, 1, checkpoint=checkpoint)
    assert result.step_losses == straight.step_losses
    assert torch.equal(weights(resumed), weights(whole))


def test_what_does_not_train_is_left_as_it_is(images: np.ndarray) -> None:
    options = RandomInitOptions()
    method = build_method("random_init", options, ImageShape(1, 8, 8), [0.3], [0.3], 0)
    before = weights(method)
    assert pretrain(method, images, options, 1) == TrainingResult("ok", "", 0, 0.0, 0.0, [], [])
    assert torch.equal(weights(method), before)


def test_only_the_pool_is_seen(make: Make, images: np.ndarray) -> None:
    pool = np.arange(0, 40, 2)
    method, options = make("unet_masked", batch_size=10)
    expected = pretrain(method, images, options, 1, pool=pool)
    spoilt = images.copy()
    spoilt[1::2] = 255
    method, options = make("unet_masked", batch_size=10)
    assert pretrain(method, spoilt, options, 1, pool=pool).step_losses == expected.step_losses


def test_bf16_trains(make: Make, images: np.ndarray) -> None:
    full, half = (pretrain(*_with_images(make, images, precision), seed=1) for precision in ("fp32", "bf16"))
    assert half.step_losses != full.step_losses
    np.testing.assert_allclose(half.step_losses, full.step_losses, rtol=0.05)


def _with_images(make: Make, images: np.ndarray, precision: str) -> tuple[Method, np.ndarray, TrainedOptions]:
    method, options = make("mae", precision=precision)
    return method, images, options


def test_an_epoch_is_a_permutation_of_the_pool_and_the_tail_is_dropped() -> None:
    images = np.arange(23, dtype=np.uint8).reshape(23, 1, 1, 1)
    batches = Batches(images, np.arange(23), 5, seed=0)
    assert batches.per_epoch == 4
    epochs = [
        np.concatenate([255 * batches[epoch * 4 + step].flatten().numpy() for step in range(4)]).round().astype(int)
        for epoch in (0, 1)
    ]
    assert all(len(set(epoch)) == 20 for epoch in epochs)
    assert list(epochs[0]) != list(epochs[1])


def test_workers_share_the_batch_in_order() -> None:
    images = np.arange(24, dtype=np.uint8).reshape(24, 1, 1, 1)
    whole = Batches(images, np.arange(24), 8, seed=0)
    parts = [Batches(images, np.arange(24), 8, seed=0, rank=rank, world=2) for rank in (0, 1)]
    for step in (0, 2, 5):
        assert torch.equal(torch.cat([part[step] for part in parts]), whole[step])


def test_a_pool_too_large_to_keep_is_read_batch_by_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.uint8, (24, 2, 2, 3))
    stored[:] = np.random.default_rng(0).integers(0, 256, stored.shape)
    pool = np.arange(3, 24)
    kept = Batches(stored, pool, 7, seed=0)[1]
    monkeypatch.setattr(batches_module, "RESIDENT_BYTES", 0)
    assert torch.equal(Batches(stored, pool, 7, seed=0)[1], kept)


@pytest.mark.parametrize(("batch_size", "world", "says"), [(41, 1, "larger than the train pool"), (9, 2, "divide")])
def test_a_batch_that_does_not_fit_is_an_error(batch_size: int, world: int, says: str, images: np.ndarray) -> None:
    with pytest.raises(UserError, match=says):
        Batches(images, np.arange(40), batch_size, seed=0, world=world)


def test_a_checkpoint_with_one_wrong_bit_is_put_aside(tmp_path: Path) -> None:
    """torch itself would read it."""
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"weights": torch.zeros(1000)})
    content = bytearray(path.read_bytes())
    content[content.index(bytes(2000)) + 1000] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["weights"].any()
    assert read_checkpoint(path) is None
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt.damaged"]
