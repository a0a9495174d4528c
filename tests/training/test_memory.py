"""A batch that does not fit in memory: taken in parts where the loss allows it, refused in one line where not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.data.draws import Draws
from bench.errors import UserError
from bench.methods.base import Method
from bench.study.methods import METHODS, TrainedOptions
from bench.training.loop import pretrain
from bench.training.memory import is_out_of_memory, more_parts

Make = Callable[..., tuple[Method, TrainedOptions]]
INDEPENDENT = ["mae", "unet_masked", "unet_denoise", "unet_mixed"]
DEPENDENT = [name for name, options in METHODS.items() if options.trains and name not in INDEPENDENT]


def limited(method: Method, most: int, error: type[Exception] = torch.OutOfMemoryError) -> Method:
    """The method on a machine that cannot hold more images than this at once."""
    loss = method.loss

    def short(images: Tensor, draws: Draws, *targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        value = loss(images, draws, *targets)  # what it drew and computed is lost
        if len(images) > most:
            raise error(f"no memory for {len(images)} images")
        return value

    method.loss = short  # type: ignore[method-assign]
    return method


def noting(method: Method, noted: list[Tensor]) -> Method:
    """The method, keeping the gradients of every step."""
    method.adjust_gradients = lambda: noted.append(  # type: ignore[method-assign]
        torch.cat([value.grad.flatten() for value in method.parameters() if value.grad is not None])
    )
    return method


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
@pytest.mark.parametrize("name", INDEPENDENT)
def test_a_batch_in_parts_trains_as_a_whole_one(
    name: str, error: type[Exception], make: Make, images: np.ndarray
) -> None:
    wanted: list[Tensor] = []
    found: list[Tensor] = []
    method, options = make(name, augmentation="crop_flip" if name == "mae" else "none")
    whole = pretrain(noting(method, wanted), images, options, 1)
    assert whole.micro_batches == 1
    small, _ = make(name, augmentation="crop_flip" if name == "mae" else "none")
    parted = pretrain(noting(limited(small, 4, error), found), images, options, 1)
    assert (parted.status, parted.micro_batches) == ("ok", 4)
    np.testing.assert_allclose(parted.step_losses, whole.step_losses, rtol=1e-4)
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-4, atol=1e-6)
    assert len(found) == len(wanted) == len(whole.step_losses)


@pytest.mark.parametrize("name", DEPENDENT)
def test_a_loss_over_the_whole_batch_is_not_taken_in_parts(name: str, make: Make, images: np.ndarray) -> None:
    method, options = make(name)
    said = rf"^{name}\.batch_size: 16 images do not fit in memory, and the loss depends on the whole batch"
    with pytest.raises(UserError, match=said):
        pretrain(limited(method, 8), images, options, 1)


def test_the_parts_are_kept_when_a_training_is_resumed(make: Make, images: np.ndarray, tmp_path: Path) -> None:
    class StopHereError(Exception):
        pass

    def stop(report: object) -> bool:
        raise StopHereError

    _, options = make("mae")
    undisturbed = pretrain(limited(make("mae")[0], 8), images, options, 1)
    where = tmp_path / "checkpoint.pt"
    short = limited(make("mae")[0], 8)
    with pytest.raises(StopHereError):
        pretrain(short, images, options, 1, checkpoint=where, checkpoint_seconds=0, on_epoch=stop)
    resumed = pretrain(make("mae")[0], images, options, 1, checkpoint=where)
    assert resumed.micro_batches == undisturbed.micro_batches == 2
    assert resumed.step_losses == undisturbed.step_losses


def test_what_else_cannot_be_taken_in_parts(make: Make) -> None:
    method, _ = make("unet_masked")
    with pytest.raises(UserError, match="not even in parts of 3"):
        more_parts(method, "unet_masked", 12, 4, 1)
    with pytest.raises(UserError, match="among 2 workers"):
        more_parts(method, "unet_masked", 16, 1, 2)
    method.extra = nn.BatchNorm2d(3)
    with pytest.raises(UserError, match="batch norms"):
        more_parts(method, "unet_masked", 16, 1, 1)


def test_memory_of_the_host_is_known_by_what_torch_says() -> None:
    with pytest.raises(RuntimeError) as found:
        torch.empty(2**50, dtype=torch.float64)
    assert is_out_of_memory(found.value)
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
