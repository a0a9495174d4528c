"""Which images to label next, from the command line; and which encoder of a results folder is taken for the best."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from bench.cli import main
from bench.data.audit.subject import read_subject
from bench.data.shape import ImageShape
from bench.engine.best_encoder import choose_encoder, embed_images
from bench.errors import UserError
from bench.methods.encoder import build_encoder, load_encoder, save_encoder
from bench.store.artifacts import Artifacts
from bench.store.fragments import Fragments
from bench.store.schema import ROWS


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six kinds of picture, of which two have labelled examples; ten of each kind."""
    generator = np.random.default_rng(0)
    for kind in range(6):
        colour = generator.integers(40, 215, 3)
        for index in range(10):
            folder = tmp_path / "set" / (f"kind{kind}" if kind < 2 and index < 5 else "unlabelled")
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(colour + generator.normal(size=(16, 16, 3)) * 8, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{kind}_{index}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "set"


def bench(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["data", "label", *map(str, arguments)])
    return int(stop.value.code or 0)


def chosen(file: str = "to_label.csv") -> list[str]:
    with open(file, newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert all(row["label"] == "" for row in rows)
    return [row["path"] for row in rows]


def test_the_kinds_without_labels_come_first(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(images, "--budget", 4) == 0
    assert {Path(path).name[0] for path in chosen()} == {"2", "3", "4", "5"}
    assert "4 images to label, chosen by coverage" in capsys.readouterr().out.replace("\n", " ")


def test_choices_nest_repeat_and_leave_labelled_images_out(images: Path) -> None:
    for name, budget, strategy in (
        ("a", 3, "coverage"),
        ("b", 9, "coverage"),
        ("c", 9, "coverage"),
        ("d", 3, "random"),
        ("e", 50, "random"),
    ):
        assert bench(images, "--budget", budget, "--to", f"{name}.csv", "--strategy", strategy, "--seed", 3) == 0
    a, b, c, d, e = (chosen(f"{name}.csv") for name in "abcde")
    assert a == b[:3]
    assert b == c
    assert d == e[:3]
    assert len(set(e)) == 50
    assert all(path.startswith("unlabelled/") for path in e)


def test_a_file_filled_in_goes_on_where_it_ended(images: Path) -> None:
    assert bench(images, "--budget", 4) == 0
    first = chosen()
    Path("filled.csv").write_text("path,label\n" + "".join(f"{path},x\n" for path in first[:3]) + f"{first[3]},\n")
    assert bench(images, "--budget", 57, "--labelled", "filled.csv", "--to", "next.csv") == 0
    assert set(chosen("next.csv")) & set(first) == {first[3]}


def test_plain_images_need_no_class_folders(images: Path) -> None:
    assert bench(images / "unlabelled", "--budget", 6) == 0
    assert {Path(path).name[0] for path in chosen()} == set("012345")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["set/kind0", "--budget", "6"], "--budget: 6 images, but 5 are without a label"),
        (["set", "--strategy", "typical"], "valid: coverage, random"),
        (["set", "--labelled", "none.csv"], "none.csv' cannot be read"),
        (["set", "--labelled", "wrong.csv"], "has no column 'label'"),
        (["set", "--labelled", "strange.csv"], "names 'x.png', which is no image"),
        (["set", "--to", "wrong.csv"], "is there already and may hold labels"),
        (["set", "--results", "nowhere"], "--results: no folder"),
        (["full"], "all 2 images of 'full' have labels"),
    ],
)
def test_mistakes_are_one_line(
    images: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("wrong.csv").write_text("path,class\na,b\n")
    Path("strange.csv").write_text("path,label\nx.png,b\n")
    for name in ("a", "b"):
        (Path("full") / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(Path("full") / name / "x.png")
    assert bench(*arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three encoders of which the second is the best on pictures, and one whose scores have no encoder."""
    root = tmp_path / "results"
    rows = []
    for number, (key, score) in enumerate({"one": 0.5, "two": 0.7, "three": 0.6, "gone": 0.9}.items()):
        if key != "gone":
            with Artifacts(root).writing("encoders", key) as folder, torch.random.fork_rng(devices=[]):
                torch.manual_seed(number)
                encoder = build_encoder("conv_nano", ImageShape(3, 16, 16), [0.5] * 3, [0.25] * 3)
                save_encoder(encoder, folder)
        for dataset, value in (("pictures", score), ("other", 1 - score)):
            layer = encoder.default_layer
            rows += [_row(key, dataset, "linear", layer, value, draw) for draw in range(2)]
            rows.append(_row(key, dataset, "knn", layer, 1 - value, 0))
    Fragments(root, "rows").write(pl.DataFrame(rows, schema=ROWS))
    return root


def _row(key: str, dataset: str, protocol: str, layer: str, score: float, draw: int) -> dict[str, object]:
    known = {
        "row_key": f"{key}/{dataset}/{protocol}/{draw}",
        "pretrain_key": key,
        "dataset": dataset,
        "method": "mae",
        "encoder": "conv_nano",
        "protocol": protocol,
        "layer": layer,
        "balanced_accuracy": score,
        "status": "ok",
    }
    return {name: known.get(name) for name in ROWS}


def test_the_best_encoder_is_the_best_of_those_that_are_left(results: Path) -> None:
    best, elsewhere = choose_encoder(results, "pictures"), choose_encoder(results, "other")
    assert best is not None
    assert elsewhere is not None
    assert best.folder.name == "two"
    assert elsewhere.folder.name == "one"
    asked = choose_encoder(results, "pictures", "three")
    assert asked is not None
    assert asked.folder.name == "three"
    with pytest.raises(UserError, match=r"--encoder: unknown pretraining 'gone'.*valid: one, three, two"):
        choose_encoder(results, "pictures", "gone")


def test_features_are_those_of_the_encoder_standardised(images: Path, results: Path) -> None:
    best = choose_encoder(results, "pictures")
    assert best is not None
    raw = read_subject(images).raw
    rows = np.arange(0, 60, 7)
    found = embed_images(best, raw, rows)
    pixels = np.stack([np.asarray(Image.open(raw.root / raw.paths[row])) for row in rows])
    with torch.inference_mode():
        wanted = load_encoder(best.folder)(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255).double().numpy()
    deviation = wanted.std(0)
    wanted = np.where(deviation > 1e-6, (wanted - wanted.mean(0)) / np.maximum(deviation, 1e-12), 0)
    np.testing.assert_allclose(found.points, wanted, atol=1e-4)


def test_the_command_reads_the_results(images: Path, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(images, "--budget", 4, "--results", results) == 0
    assert "mae (conv_nano" in capsys.readouterr().out.replace("\n", " ")
    assert len(chosen()) == 4
