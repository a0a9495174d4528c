"""`--data` and `--minutes` on the command line: what is printed, what is written, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml
from PIL import Image

from bench.cli import main
from bench.data.catalog import open_dataset
from bench.data.inspect import inspect_data
from bench.data.source import data_key
from bench.store.datasets import DataRecord
from bench.study.inspection import Machine
from bench.study.load import load_study, parse_study
from bench.study.plan import build_plan
from bench.study.propose import propose


class Done(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for label in ("ant", "bee"):
        (tmp_path / "my photos!" / label).mkdir(parents=True)
        for index in range(12):
            pixels = generator.integers(0, 256, (20, 24, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "my photos!" / label / f"{index}.png")
    return tmp_path / "my photos!"


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Done]:
    def run(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as stopped:
            main([*map(str, arguments), "--results", str(tmp_path / "results")])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Done(int(stopped.value.code or 0), captured.out, captured.err)

    return run


def test_a_study_is_proposed_shown_and_written(bench: Callable[..., Done], photos: Path, tmp_path: Path) -> None:
    done = bench("plan", "--data", photos, "--minutes", 5)
    assert done.status == 0, done.err
    assert "24 images, 2 classes (sub-folders), 24 x 20 RGB; " in done.out
    assert "image size 16; methods pixels, random_init, simclr, mae" in done.out
    assert "label budgets 1, 2, 5, all of each class; 3 seeds" in done.out
    path = tmp_path / "results" / "studies" / "own-my-photos.yaml"
    assert f"written to {path}" in done.out
    assert "--set KEY=VALUE" in done.out
    assert "mae" in done.out.split("change it with")[1]
    study = load_study(path)
    assert (study.data.name, study.data.root) == ("folder", str(photos))
    data = open_dataset(study.data, tmp_path / "results")
    record = DataRecord.load(tmp_path / "results", data_key(study.data))
    assert record is not None
    assert build_plan(study, record, {}).row_keys()
    assert min(data.pool_counts) >= 5
    again = bench("plan", path)
    assert again.status == 0
    assert "rows are in the store" in again.out


def test_a_study_that_was_edited_is_not_written_over(bench: Callable[..., Done], photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "studies"
    for _ in range(2):
        assert bench("plan", "--data", photos).status == 0
    first = folder / "own-my-photos.yaml"
    assert [path.name for path in folder.glob("*.yaml")] == [first.name]
    text = first.read_text().replace("seeds: 3", "seeds: 4")
    first.write_text(text)
    done = bench("plan", "--data", photos)
    assert f"written to {folder}/own-my-photos-2.yaml" in done.out
    assert first.read_text() == text


def test_overrides_hold_for_a_proposal(bench: Callable[..., Done], photos: Path) -> None:
    done = bench("plan", "--data", photos, "--set", "scientific.mae.mask_ratio=[0.25, 0.75]")
    assert "mae[mask_ratio=0.25]" in done.out
    done = bench("plan", "--data", photos, "--set", "mae.ratio=0.5")
    assert done.status == 2
    assert "unknown option 'ratio'" in done.err


def test_a_study_is_given_other_images(bench: Callable[..., Done], photos: Path, tmp_path: Path) -> None:
    known = {
        "study": "mine",
        "data": {"name": "digits", "max_train": 300, "test": 0.3},
        "methods": {"pixels": {}},
        "evaluate": [{"protocol": "linear", "label_budgets": [1]}],
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(known))
    done = bench("plan", tmp_path / "mine.yaml", "--data", photos)
    assert done.status == 0, done.err
    assert "mine on folder" in done.out
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("classes", "each", "unlabelled", "size"),
    [(2, 3, 0, 8), (2, 3, 30, 13), (40, 4, 0, 9), (2, 7, 0, 1200)],
    ids=["three of each", "most without a label", "many classes", "large"],
)
def test_what_is_proposed_can_be_split_as_it_says(
    classes: int, each: int, unlabelled: int, size: int, tmp_path: Path
) -> None:
    generator = np.random.default_rng(1)
    names = [*(f"c{number}" for number in range(classes) for _ in range(each)), *["unlabelled"] * unlabelled]
    for index, name in enumerate(names):
        (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (size, size), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.jpg")
    raw = propose("own", inspect_data(str(tmp_path / "photos")), Machine(2, 0)).raw
    study = parse_study(raw, "own")
    open_dataset(study.data, tmp_path / "results")
    record = DataRecord.load(tmp_path / "results", data_key(study.data))
    assert record is not None
    assert min(record.pool_counts) >= 1
    assert record.n_validation >= classes
    assert record.n_train + record.n_validation + record.n_test == len(names)
    assert build_plan(study, record, {}).row_keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--minutes", 20), "--minutes: fits a study that bench proposes; valid: with --data and without STUDY"),
        (("quickstart", "--data", "PHOTOS", "--minutes", 20), "--minutes: fits a study"),
        (("--data", "no/such/place"), "--data 'no/such/place': no such folder or file; valid: a folder of images"),
        (("--data", "PHOTOS", "--minutes", 0), "--minutes 0: a positive number is needed"),
        (("--data", "PHOTOS/ant"), "12 images and no label; labels are needed"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_mistakes_are_one_line(
    bench: Callable[..., Done], photos: Path, tmp_path: Path, command: str, arguments: tuple[object, ...], message: str
) -> None:
    done = bench(command, *(str(argument).replace("PHOTOS", str(photos)) for argument in arguments))
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert message in done.err
    assert not [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
