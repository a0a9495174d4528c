"""`bench weights`: what a pretraining left behind as a file, and a mask put back on its backbone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bench.cli import main
from bench.engine.pretrain import ensure_trained
from bench.engine.site import Site
from bench.engine.weights import write_weights
from bench.errors import UserError
from bench.methods.encoder import WEIGHTS
from bench.methods.mask_codec import MASK
from bench.store.artifacts import Artifacts
from bench.study.methods import METHODS
from bench.study.spec import DataSpec, Resources


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with a backbone, a mask over it, and a pretraining that diverged."""
    torch.set_num_threads(1)
    site = Site(tmp_path_factory.mktemp("results"), DataSpec(name="digits", max_train=200, max_test=100), Resources())
    backbone, _ = ensure_trained(site, "backbone", "random_init", METHODS["random_init"](encoder="timm/test_resnet"))
    options = {"epochs": 1, "batch_size": 32, "queue": 0, "prototypes": 16, "local_crops": 0, "score_lr": 2000.0}
    masking = METHODS["self_masking"](encoder="timm/test_resnet", weights=str(backbone), **options)
    folder, trained = ensure_trained(site, "masked", "self_masking", masking)
    assert trained.status == "ok"
    assert trained.measurements["mask_file_bytes"] == (folder / MASK).stat().st_size
    assert 0.05 < trained.measurements["entropy_bits_per_weight"] < 1
    with Artifacts(site.root).writing("encoders", "diverged") as folder:
        (folder / "training.json").write_text("{}")
    return site.root


def bench(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["weights", *map(str, arguments)])
    return int(stopped.value.code or 0)


@pytest.mark.parametrize("shared", ["folder", "file"])
def test_a_mask_and_its_backbone_make_the_weights_bit_for_bit(
    root: Path, shared: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoders = root / "artifacts" / "encoders"
    mask, made = tmp_path / "new" / "mask.safetensors", tmp_path / "made.safetensors"
    assert bench("masked", "--results", root, "--to", mask) == 0
    assert capsys.readouterr().out == f"{mask}: mask, {mask.stat().st_size} bytes\n"
    assert mask.read_bytes() == (encoders / "masked" / MASK).read_bytes()
    backbone = encoders / "backbone" / ("" if shared == "folder" else WEIGHTS)
    assert bench("--apply", mask, "--backbone", backbone, "--to", made) == 0
    expected, found = load_file(encoders / "masked" / WEIGHTS), load_file(made)
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    unmasked = load_file(encoders / "backbone" / WEIGHTS)
    assert any(not torch.equal(unmasked[name], tensor) for name, tensor in expected.items())


def test_without_a_mask_the_weights_are_written(root: Path, tmp_path: Path) -> None:
    assert bench("backbone", "--results", root, "--to", tmp_path / "weights.safetensors") == 0
    kept = root / "artifacts" / "encoders" / "backbone" / WEIGHTS
    assert (tmp_path / "weights.safetensors").read_bytes() == kept.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["maskd", "--results", "ROOT"], "KEY: unknown pretraining 'maskd' (did you mean 'masked'?)"),
        (["../rows", "--results", "ROOT"], "KEY: unknown pretraining '../rows'"),
        (["diverged", "--results", "ROOT"], "KEY: the pretraining 'diverged' left no encoder"),
        ([], "give either KEY, or --apply MASK with --backbone PATH"),
        (["masked", "--apply", "MASK", "--backbone", "MASK"], "give either KEY"),
        (["--apply", "MASK"], "give either KEY"),
        (["--apply", "MASK", "--backbone", "ROOT"], "--backbone: there is no file"),
        (["--apply", "MASK", "--backbone", "TEXT"], "is no safetensors file"),
        (["--apply", "TEXT", "--backbone", "WEIGHTS"], "is no mask file"),
        (["--apply", "MASK", "--backbone", "OTHER"], "the mask is for the backbone 'timm/test_resnet' of digest"),
    ],
)
def test_mistakes_are_a_line_and_leave_no_file(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    encoders = root / "artifacts" / "encoders"
    places = {
        "ROOT": root,
        "MASK": encoders / "masked" / MASK,
        "WEIGHTS": encoders / "backbone" / WEIGHTS,
        "OTHER": encoders / "masked",
        "TEXT": tmp_path / "text",
    }
    places["TEXT"].write_text("no weights")
    assert bench(*(places.get(word, word) for word in arguments), "--to", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert message in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_of_many_pretrainings_the_nearest_and_the_newest_are_named(tmp_path: Path) -> None:
    for number in range(30):
        with Artifacts(tmp_path).writing("encoders", f"{number:02}cafe") as folder:
            pass
        os.utime(tmp_path / "artifacts" / "encoders" / f"{number:02}cafe" / ".complete", (number, number))
    with pytest.raises(UserError) as told:
        write_weights(tmp_path, "07", folder / "out")
    named = "07cafe, " + ", ".join(f"{number:02}cafe" for number in range(29, 20, -1))
    assert str(told.value) == f"KEY: unknown pretraining '07' (did you mean '07cafe'?); valid: {named} and 20 more"
    with pytest.raises(UserError, match=r"valid: none$"):
        write_weights(tmp_path / "empty", "07", folder / "out")
