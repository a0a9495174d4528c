"""Segmentation taken home: networks trained on the land-cover test bed, scored by others as their rows say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from bench.cli import main
from bench.data.batches import to_float
from bench.engine.site import Site
from bench.engine.winner import segmentation, take
from bench.engine.winner.choice import candidates
from bench.engine.winner.loading import load_winner
from bench.engine.winner.program import run_onnx
from bench.results.winner import contenders
from tests.engine.winners import card_of, code_blocks, outside, row_of, run_here

STUDY: dict[str, Any] = {
    "study": "take-home-dense",
    "data": {"name": "land_cover", "images": 40, "image_size": 16},
    "methods": {"random_init": {"encoder": "vit_nano"}},
    "evaluate": [
        {
            "protocol": "segmentation",
            "label_budgets": [4],
            "draws": 2,
            "encoder_state": ["frozen", "trained"],
            "class_map": {
                "plants": ["field", "tree"],
                "made": ["road", "building"],
                "water": "water",
                "ignore": "bare",
            },
            "steps": 6,
            "epochs": 1,
            "batch_size": 4,
        }
    ],
    "seeds": 1,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    torch.set_num_threads(1)
    return run_here(tmp_path_factory.mktemp("results"), STUDY)


@pytest.fixture(scope="module")
def winner(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home") / "dense"
    with pytest.raises(SystemExit) as stopped:
        main(["weights", "best", "--to", str(folder), "--results", str(site.root), "--onnx"])
    assert not stopped.value.code
    return folder


@pytest.fixture(scope="module")
def pictures(site: Site) -> np.ndarray:
    dataset = site.dataset()
    return to_float(dataset.images.images[dataset.splits.test]).numpy()


def confusion(site: Site, predicted: np.ndarray) -> list[list[int]]:
    """Of classes [n, H, W] of the test images, by hand."""
    dataset = site.dataset()
    target = {"road": 0, "building": 0, "field": 1, "tree": 1, "water": 2}
    truth = dataset.images.masks[dataset.splits.test]
    found = np.zeros((3, 3), int)
    for number, name in enumerate(dataset.splits.class_names):
        if name in target:
            np.add.at(found[target[name]], predicted[truth == number], 1)
    return found.tolist()


def test_it_answers_as_its_row_where_this_package_is_not(
    site: Site, winner: Path, pictures: np.ndarray, tmp_path: Path
) -> None:
    by_smp, by_torch, _ = code_blocks(winner)
    assert "segmentation_models_pytorch" in by_smp
    model, card = load_winner(winner)
    wanted = json.loads(row_of(site, card)["details"])["confusion"]
    with torch.inference_mode():
        shares = model(torch.from_numpy(pictures)).softmax(1).numpy()
    for found in outside(winner, pictures, tmp_path, [by_smp, by_torch]):
        assert confusion(site, found.argmax(1)) == wanted
        assert np.allclose(found, shares, atol=1e-4)
    logits = run_onnx(winner / "model.onnx", torch.from_numpy(pictures))
    assert np.allclose(logits.softmax(1).numpy(), shares, atol=1e-3)


def test_the_card_says_what_it_is(site: Site, winner: Path) -> None:
    card = card_of(winner)
    row = row_of(site, card)
    assert (card["task"], card["classes"]) == ("segmentation", ["made", "plants", "water"])
    assert card["row"]["scores"]["miou"] == card["exported"]["miou"] == row["miou"]
    assert card["exported"]["differing"] == 0
    assert card["class_iou"] == json.loads(row["details"])["class_iou"]
    assert set(card["files"]) == {"encoder.safetensors", "head.safetensors", "model.onnx", "model.pt2"}
    tried = {one["draw"]: one["validation"] for one in card["candidates"]}
    assert len(tried) == 2
    assert tried[card["row"]["draw"]] == max(tried.values())
    page = (winner / "README.md").read_text()
    for text in (f"| mIoU | {row['miou']:.4f} |", "4 labelled images", "image-segmentation", "validation pixels"):
        assert text in page


def test_the_temperature_lowers_the_loss_of_validation_pixels(site: Site, winner: Path) -> None:
    model, card = load_winner(winner)
    dataset = site.dataset()
    held = dataset.splits.validation
    table = np.full(256, 255)
    for number, name in enumerate(dataset.splits.class_names):
        table[number] = {"road": 0, "building": 0, "field": 1, "tree": 1, "water": 2}.get(name, 255)
    labels = torch.from_numpy(table[dataset.images.masks[held]])
    with torch.inference_mode():
        logits = model(to_float(dataset.images.images[held])).double() * card["temperature"]

    def loss(temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits / temperature, labels, ignore_index=255))

    best = loss(card["temperature"])
    assert card["calibration"]["n_labels"] == int((labels != 255).sum())
    assert best <= min(loss(card["temperature"] * factor) for factor in (0.9, 1.1)) + 1e-9
    assert best <= loss(1.0)


def test_predictions_are_masks_beside_a_table(site: Site, winner: Path, tmp_path: Path) -> None:
    dataset, images = site.dataset(), tmp_path / "images"
    (images / "a").mkdir(parents=True)
    for number, index in enumerate(dataset.splits.test):
        Image.fromarray(dataset.images.images[index]).save(images / f"{number:02}.png")
    large = np.concatenate([dataset.images.images[index] for index in dataset.splits.test[:3]], axis=1)
    Image.fromarray(large).save(images / "a" / "large.png")
    Image.fromarray(large).save(images / "a" / "large.bmp")
    Image.fromarray(large[:10]).save(images / "a" / "small.png")
    with pytest.raises(SystemExit) as stopped:
        main(["predict", str(winner), str(images), "--to", str(tmp_path / "out.parquet")])
    assert not stopped.value.code
    table, card = pl.read_parquet(tmp_path / "out.parquet"), card_of(winner)
    assert table.columns == ["path", "mask", "confidence", "share_made", "share_plants", "share_water"]
    masks = [np.asarray(Image.open(tmp_path / name)) for name in table["mask"]]
    assert table["mask"][0] == "out_masks/00.png"
    assert table["mask"].to_list()[-2:] == ["out_masks/a/large.bmp.png", "out_masks/a/large.png.png"]
    assert confusion(site, np.stack(masks[:-2])) == json.loads(row_of(site, card)["details"])["confusion"]
    assert (masks[-1] == np.concatenate(masks[:3], axis=1)).all()  # chips without overlap: as if each were by itself
    assert table["confidence"][-1] == pytest.approx(table["confidence"][:3].mean())
    shares = table.select(pl.selectors.starts_with("share_")).to_numpy()
    assert np.allclose(shares, [[(mask == number).mean() for number in range(3)] for mask in masks])
    assert table["confidence"].is_between(1 / 3, 1).all()


def test_masks_do_not_go_among_the_images(winner: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(SystemExit) as stopped:
        main(["predict", str(winner), str(tmp_path), "--to", str(tmp_path / "out.parquet")])
    assert stopped.value.code == 2
    assert "would lie among the images" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_frozen_encoder_is_the_one_that_is_kept(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "write_program", lambda model, folder: "left out here")
    for contender in contenders(site.root):
        take.take_home(site.root, contender, tmp_path / "home", onnx=False, licence="not stated")
        card = card_of(tmp_path / "home")
        kept = site.root / "artifacts" / "encoders" / card["row"]["pretrain_key"] / "encoder.safetensors"
        same = kept.read_bytes() == (tmp_path / "home" / "encoder.safetensors").read_bytes()
        assert same == (card["row"]["protocol_options"]["encoder_state"] == "frozen")


def test_a_network_that_does_not_score_as_its_row_is_not_written(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def other(site: Site, contender: Any) -> list[Any]:
        found = candidates(site, contender)
        for one in found:
            details = json.loads(one.row["details"])
            details["confusion"][0][0] -= 3
            details["confusion"][0][1] += 3
            one.row["details"] = json.dumps(details)
        return found

    monkeypatch.setattr(take, "candidates", other)
    with pytest.raises(SystemExit) as stopped:
        main(["weights", "best", "--to", str(tmp_path / "best"), "--results", str(site.root)])
    assert stopped.value.code == 1
    assert "answers at least 3 of " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
