"""`bench weights best` and `bench predict`: a winner trained on digits, taken home, and scored by others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from bench.cli import main
from bench.data.batches import to_float
from bench.data.catalog import Dataset
from bench.engine.site import Site
from bench.engine.winner import classification, program, take
from bench.engine.winner.answers import columns
from bench.engine.winner.choice import candidates, choose
from bench.engine.winner.loading import load_winner
from bench.protocols.metrics import measure
from bench.results.winner import contenders
from bench.store.fragments import Fragments
from tests.engine.winners import STUDY, card_of, code_blocks, outside, row_of, run_here


class Done(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    torch.set_num_threads(1)
    return run_here(tmp_path_factory.mktemp("results"), STUDY)


@pytest.fixture(scope="module")
def dataset(site: Site) -> Dataset:
    return site.dataset()


@pytest.fixture
def bench(site: Site, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    def run(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Done(int(stopped.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def key(site: Site) -> str:
    rows = Fragments(site.root, "rows").scan().filter(pl.col("method") == "mae", pl.col("seed") == 1).collect()
    return str(rows["pretrain_key"][0])


@pytest.fixture(scope="module")
def winner(site: Site, key: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the better linear probe on one pretraining of mae."""
    folder = tmp_path_factory.mktemp("home") / "mae"
    with pytest.raises(SystemExit) as stopped:
        main(["weights", key, "--to", str(folder), "--results", str(site.root), "--onnx", "--data-licence", "CC0 1.0"])
    assert not stopped.value.code
    return folder


def answers(row: dict[str, Any]) -> np.ndarray:
    return np.unpackbits(np.frombuffer(row["correct"], np.uint8), count=row["n_test"]).astype(bool)


def test_a_winner_scores_as_its_row_where_this_package_is_not(
    site: Site, dataset: Dataset, winner: Path, tmp_path: Path
) -> None:
    by_timm, by_torch, _ = code_blocks(winner)
    assert "timm.create_model" in by_timm
    row, test = row_of(site, card_of(winner)), dataset.splits.test
    assert row["accuracy"] > 0.3
    images = to_float(dataset.images.images[test])
    model, _ = load_winner(winner)
    with torch.inference_mode():
        shares = model(images).softmax(1)
    for found in outside(winner, images.numpy(), tmp_path, [by_timm, by_torch]):
        assert (found.argmax(1) == dataset.splits.labels[test]).mean() == row["accuracy"]
        assert torch.allclose(torch.from_numpy(found).float(), shares, atol=2e-3)


def test_the_card_says_what_it_is(site: Site, dataset: Dataset, winner: Path, key: str) -> None:
    card = card_of(winner)
    row = row_of(site, card)
    assert card["row"]["pretrain_key"] == key
    assert card["row"]["label_budget"] == "10"
    assert card["row"]["scores"]["accuracy"] == row["accuracy"]
    assert card["data"]["fingerprint"] == dataset.fingerprint
    assert card["data"]["licence"] == "CC0 1.0"
    assert card["exported"] == {"accuracy": row["accuracy"], "differing": 0}
    assert set(card["files"]) == {
        "encoder.safetensors",
        "head.safetensors",
        "model.onnx",
        "model.pt2",
    }
    head = load_file(winner / "head.safetensors")
    assert head["weight"].shape == (len(head["mean"]), 10)
    page = (winner / "README.md").read_text()
    front = yaml.safe_load(page.split("---")[1])
    assert {"type": "accuracy", "value": row["accuracy"]} in front["model-index"][0]["results"][0]["metrics"]
    for text in (dataset.fingerprint, "CC0 1.0", f"{row['accuracy']:.4f}", "seed 1", "8 x 8 pixels, 1 channel"):
        assert text.lower() in page.lower()


def test_the_program_holds_no_pickled_tensor(winner: Path) -> None:
    import zipfile

    with zipfile.ZipFile(winner / "model.pt2") as archive:
        configs = [archive.read(name) for name in archive.namelist() if name.endswith("_config.json")]
    assert len(configs) >= 1
    assert not any('"use_pickle": true' in config.decode() for config in configs)


def test_onnxruntime_answers_as_pytorch(dataset: Dataset, winner: Path) -> None:
    made = card_of(winner)["onnx"]
    model, _ = load_winner(winner)
    for part in (slice(0, 1), slice(0, 40)):
        images = to_float(dataset.images.images[dataset.splits.test[part]])
        with torch.inference_mode():
            expected = model(images)
        found = program.run_onnx(winner / "model.onnx", images)
        assert torch.allclose(found, expected, atol=0.05)  # a feature may round to its other neighbour
    assert made["max_difference"] < 0.05
    assert made["same_answers"] >= 0.99
    assert made["images"] == 150


def test_predictions_are_those_of_the_row_and_calibrated(
    site: Site, dataset: Dataset, winner: Path, bench: Callable[..., Done], tmp_path: Path
) -> None:
    splits, folder = dataset.splits, tmp_path / "images"
    for number, index in enumerate(splits.test):
        path = folder / f"{number % 3}" / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(dataset.images.images[index][..., 0]).save(path)
    (folder / "0" / "broken.png").write_bytes(b"not a picture")
    (folder / "notes.txt").write_text("no image at all")
    done = bench("predict", winner, folder, "--to", tmp_path / "out.parquet")
    assert done.status == 0
    assert "skipped 0/broken.png: not an image\n" in done.out
    assert "150 of 151 images" in done.out
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table.columns == ["path", "label", *(f"p_{digit}" for digit in range(10))]
    assert table["path"].to_list() == sorted(table["path"])
    table = table.sort(pl.col("path").str.slice(2))  # the order of the test split
    shares = table.select(pl.exclude("path", "label")).to_numpy()
    assert np.allclose(shares.sum(1), 1)
    labels = splits.labels[splits.test]
    right = table["label"].to_numpy() == np.array(splits.class_names)[labels]
    row, card = row_of(site, card_of(winner)), card_of(winner)
    assert (right == answers(row)).all()
    scores = measure(shares[None], labels).metrics
    assert scores["ece"][0] == pytest.approx(card["calibration"]["ece"], abs=1e-4)
    assert f"{card['calibration']['ece']:.4f}" in done.out
    assert row["ece"] == pytest.approx(card["calibration"]["ece_before"], abs=1e-3)


def test_the_best_is_the_first_that_leaves_weights(
    site: Site, bench: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classification, "write_program", lambda model, folder: "left out here")
    done = bench("weights", "best", "--to", tmp_path / "best", "--results", site.root, "--metric", "accuracy")
    assert done.status == 0, done.err
    card = card_of(tmp_path / "best")
    found = contenders(site.root, metric="accuracy")
    first = next(one for one in found if one.method != "pixels")
    assert card["entrant"] == first.entrant
    assert f"{first.entrant}: place {first.place} of {len(found)}" in done.out
    for one in found[: found.index(first)]:
        assert f"passed over: place {one.place}, {one.entrant}: pixels learns no weights" in done.out
    tried = {(one["seed"], one["draw"]): one["validation"] for one in card["candidates"]}
    assert len(tried) == 4
    assert tried[card["row"]["seed"], card["row"]["draw"]] == max(tried.values())
    assert "not by test images" in done.out
    assert "no model.pt2: left out here" in done.out


@pytest.mark.parametrize("protocol", ["knn", "nearest_centroid"])
def test_other_heads_score_as_their_rows(
    site: Site, dataset: Dataset, protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classification, "write_program", lambda model, folder: "left out here")
    contender = next(one for one in contenders(site.root) if one.protocol == protocol)
    take.take_home(site.root, contender, tmp_path / "home", onnx=False, licence="not stated")
    card = card_of(tmp_path / "home")
    assert card["exported"]["differing"] == 0
    model, _ = load_winner(tmp_path / "home")
    with torch.inference_mode():
        found = model(to_float(dataset.images.images[dataset.splits.test])).argmax(1).numpy()
    row = row_of(site, card)
    assert ((found == dataset.splits.labels[dataset.splits.test]) == answers(row)).all()
    assert row["protocol"] == protocol


def test_a_choice_without_validation_labels_is_the_first(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    contender = next(one for one in contenders(site.root) if one.protocol == "nearest_centroid")
    monkeypatch.setattr(classification, "validation_of", lambda dataset: np.empty(0, np.int64))
    found = candidates(site, contender)
    assert choose(found) is found[0]
    assert (found[0].row["seed"], found[0].row["draw"]) == (0, 0)


def test_a_head_that_does_not_score_as_its_row_is_not_written(
    site: Site, bench: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(site: Site, contender: Any) -> list[Any]:
        found = candidates(site, contender)
        for one in found:
            flipped = np.frombuffer(one.row["correct"], np.uint8).copy()
            flipped[0] ^= 0b11000000
            one.row["correct"] = flipped.tobytes()
        return found

    monkeypatch.setattr(take, "candidates", other)
    done = bench("weights", "best", "--to", tmp_path / "best", "--results", site.root)
    assert done.status == 1
    assert "answers 2 of 150 test images otherwise than row" in done.err
    assert not (tmp_path / "best").exists()
    assert not list(tmp_path.iterdir())


def test_a_folder_is_uploaded_as_it_is(
    winner: Path, site: Site, key: str, bench: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub itself is out of reach here: its client is watched instead."""
    import huggingface_hub

    calls: list[tuple[str, dict[str, Any]]] = []

    class Hub:
        def create_repo(self, repo_id: str, **options: Any) -> str:
            calls.append((repo_id, options))
            return f"https://huggingface.co/{repo_id}"

        def upload_folder(self, **options: Any) -> None:
            calls.append(("upload", options | {"files": {path.name for path in options["folder_path"].iterdir()}}))
            if options["repo_id"].startswith("refused"):
                raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(classification, "write_program", lambda model, folder: "left out here")
    to = tmp_path / "home"
    done = bench("weights", key, "--to", to, "--results", site.root, "--push", "someone/digits")
    assert done.status == 0
    assert "uploaded to https://huggingface.co/someone/digits" in done.out
    (repository, options), (_, upload) = calls
    assert (repository, options["private"]) == ("someone/digits", True)
    assert upload["files"] == {"encoder.safetensors", "head.safetensors", "card.json", "README.md"}
    refused = bench("weights", key, "--to", to, "--results", site.root, "--push", "refused/digits")
    assert refused.status == 2
    assert "--push: 'refused/digits' was not written: no route" in refused.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["weights", "nobody", "--to", "NEW", "--results", "ROOT"], "KEY: unknown pretraining 'nobody'"),
        (["weights", "best", "--to", "NEW", "--results", "EMPTY"], "no results here yet"),
        (
            ["weights", "best", "--to", "NEW", "--results", "ROOT", "--budget", "3"],
            "--budget: no rows at label budget '3'",
        ),
        (["weights", "best", "--to", "NEW", "--results", "ROOT", "--study", "x"], "--study: unknown study 'x'"),
        (["weights", "best", "--to", "EMPTY/notes", "--results", "ROOT"], "is a file; valid: a folder"),
        (["weights", "best", "--to", "EMPTY", "--results", "ROOT"], "holds other files"),
        (["weights", "best", "--to", "NEW", "--results", "ROOT", "--push", "nobody"], "valid: OWNER/NAME"),
        (["weights", "KEY", "--to", "NEW.safetensors", "--results", "ROOT", "--onnx"], "--onnx: is read where"),
        (["weights", "--apply", "EMPTY/notes", "--to", "NEW"], "--apply MASK with --backbone PATH"),
        (["weights", "--to", "NEW", "--data-licence", "x"], "--data-licence: is read where"),
        (["predict", "EMPTY", "EMPTY", "--to", "NEW"], "holds no winner"),
        (["predict", "WINNER", "EMPTY/none", "--to", "NEW"], "IMAGES: no folder"),
        (["predict", "WINNER", "EMPTY", "--to", "NEW"], "IMAGES: no image in"),
        (["predict", "WINNER", "BROKEN", "--to", "NEW", "--support", "EMPTY"], "this winner knows its classes"),
        (["predict", "WINNER", "BROKEN", "--to", "NEW"], "none of 2 images in"),
    ],
)
def test_mistakes_are_a_line_and_leave_nothing(
    site: Site,
    winner: Path,
    key: str,
    bench: Callable[..., Done],
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    for folder, name in (("empty", "notes"), ("broken", "a.png"), ("broken", "b.jpg")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text("nothing")
    places = {
        "ROOT": site.root,
        "KEY": key,
        "WINNER": winner,
        "EMPTY": tmp_path / "empty",
        "EMPTY/notes": tmp_path / "empty" / "notes",
        "EMPTY/none": tmp_path / "empty" / "none",
        "BROKEN": tmp_path / "broken",
        "NEW": tmp_path / "new",
        "NEW.safetensors": tmp_path / "new.safetensors",
    }
    done = bench(*(places.get(word, word) for word in arguments))
    assert done.status == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "broken"}


def test_onnx_without_its_packages_is_a_line(
    site: Site, bench: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "find_spec", lambda name: None if name == "onnxscript" else name)
    done = bench("weights", "best", "--to", tmp_path / "new", "--results", site.root, "--onnx")
    assert done.status == 2
    assert done.err == "error: --onnx: needs onnxscript; pip install 'pretextbench[onnx]'\n"


def test_a_column_for_each_class() -> None:
    names = ["cat", "Cat", "a b", "a-b", "…", "p|x", "A_B"]
    found = columns(names)
    assert found == ["p_cat", "p_cat_2", "p_a_b", "p_a_b_2", "p__2", "p_p_x", "p_a_b_3"]
    assert len(set(found)) == len(names)
