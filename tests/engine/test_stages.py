"""A pretraining of several trainings: continued bit for bit, its books added up, refused to worker groups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.shape import ImageShape
from bench.engine.site import Site
from bench.engine.stages import train_stages
from bench.engine.trained import find_trained, keep, train
from bench.errors import UserError
from bench.methods.base import Method
from bench.methods.encoder import load_encoder
from bench.methods.registry import build_method
from bench.methods.self_masking import SelfMasking
from bench.study.expand import check_study
from bench.study.load import parse_study
from bench.study.methods import METHODS, SelfMaskingCascadeOptions
from bench.study.spec import DataSpec, Resources

SMALL = {"epochs": 2, "batch_size": 16, "queue": 16, "prototypes": 8, "local_crops": 0, "freeze_steps": 0}
OPTIONS = SelfMaskingCascadeOptions(**SMALL, experts=2, clusters_dimensions=2, score_lr=500.0, masked=r"stages\.0\.0")
KEY = "c" * 32


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    found = np.random.default_rng(0).integers(0, 60, (80, 8, 8, 1))
    found[:40, ::2] += 180
    return found.astype(np.uint8)


def cascade() -> Method:
    return build_method("self_masking_cascade", OPTIONS, ImageShape(1, 8, 8), [0.3], [0.2], 0)


def run(images: np.ndarray, folder: Path, method: Method | None = None) -> tuple[Method, list[float], int]:
    method = method or cascade()
    result = train_stages(
        method, images, OPTIONS, KEY, pool=np.arange(80), checkpoints=folder, checkpoint_seconds=0.0, device="cpu"
    )
    assert result.status == "ok"
    assert result.seconds > 0
    assert result.images_per_second > 0
    return method, result.step_losses, result.epochs


class StopHereError(Exception):
    pass


@pytest.mark.parametrize("steps", [5, 11, 18])
def test_an_interrupted_cascade_continues_bit_for_bit(
    steps: int, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten steps of the dispatcher, then those of two experts."""
    whole, losses, epochs = run(images, tmp_path / "whole")
    assert len(losses) > 20
    assert epochs > 2
    taken = 0

    def count(method: SelfMasking) -> None:
        nonlocal taken
        taken += 1
        if taken > steps:
            raise StopHereError
        method.task.end_step()

    with monkeypatch.context() as patch:
        patch.setattr(SelfMasking, "end_step", count)
        with pytest.raises(StopHereError):
            run(images, tmp_path / "parts")
    again, resumed, _ = run(images, tmp_path / "parts", cascade())
    assert resumed == losses
    ours, theirs = whole.encoder().backbone.state_dict(), again.encoder().backbone.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_a_training_that_is_done_is_not_done_again(
    images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, losses, _ = run(images, tmp_path)
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"checkpoint.pt", "expert_1.pt", "expert_2.pt"}

    def never(method: SelfMasking) -> None:
        raise StopHereError

    monkeypatch.setattr(SelfMasking, "end_step", never)
    assert run(images, tmp_path)[1] == losses


def test_an_expert_that_diverges_ends_the_pretraining(images: np.ndarray, tmp_path: Path) -> None:
    class Explodes(type(cascade())):
        def expert(self, seed: int) -> SelfMasking:
            made = super().expert(seed)
            made.task.head.projection.last.weight.data.fill_(torch.nan)
            return made

    method = Explodes(OPTIONS, ImageShape(1, 8, 8), [0.3], [0.2])
    result = train_stages(method, images, OPTIONS, KEY, pool=np.arange(80), checkpoints=tmp_path, device="cpu")
    assert result.status == "diverged"
    assert result.reason.startswith("expert_1: the loss was nan at step 0")
    assert len(result.losses) == 2
    assert not (tmp_path / "expert_1.pt").exists()


def test_a_cascade_is_kept(tmp_path: Path) -> None:
    site = Site(tmp_path, DataSpec(name="digits", max_train=120, max_test=40), Resources())
    method, result = train(site, KEY, "self_masking_cascade", OPTIONS)
    keep(site, KEY, method, result)
    folder, trained = find_trained(tmp_path, KEY)
    assert trained.status == "ok"
    assert len(trained.losses) == result.epochs > 2
    count = int(trained.measurements["experts_trained"])
    masks = sorted(folder.glob("mask_*.safetensors"))
    assert len(masks) == 1 + count
    assert trained.measurements["cascade_mask_bytes"] == sum(file.stat().st_size for file in masks)
    assert load_encoder(folder).default_layer == "cascade"
    assert (folder / "previews").is_dir()
    assert not (tmp_path / "artifacts" / "checkpoints" / KEY).exists()


def test_a_worker_group_is_refused() -> None:
    raw = {
        "study": "s",
        "data": {"name": "digits"},
        "methods": {"self_masking_cascade": {}},
        "evaluate": [{"protocol": "knn", "label_budgets": [1]}],
        "resources": {"workers": 2},
    }
    with pytest.raises(UserError, match=r"resources\.workers: 2, but self_masking_cascade trains several.*valid.*0"):
        check_study(parse_study(raw, "test"))


def test_only_cascades_are_staged() -> None:
    assert [name for name, options in METHODS.items() if options.staged] == ["self_masking_cascade"]
