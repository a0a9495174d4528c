"""A winner's folder that was cut short or edited: a line says so, nothing is raised at the user."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.cli import main
from bench.data.shape import ImageShape
from bench.engine.winner.card import write_card
from bench.engine.winner.heads import LinearHead, save_head
from bench.engine.winner.loading import load_winner
from bench.engine.winner.take import check_folder, replacing_folder
from bench.methods.encoder import build_encoder, save_encoder

SHAPE = ImageShape(1, 8, 8)


@pytest.fixture
def winner(tmp_path: Path) -> Path:
    folder = tmp_path / "winner"
    encoder = build_encoder("conv_nano", SHAPE, [0.5], [0.25])
    save_encoder(encoder, folder)
    width = encoder.layers[encoder.default_layer].channels
    head = LinearHead(torch.zeros(width), torch.ones(width), torch.randn(width, 3), torch.zeros(3))
    save_head(head, folder)
    said: dict[str, Any] = {
        "format": 2,
        "task": "classification",
        "layer": "last",
        "head": head.settings(),
        "classes": ["a", "b", "c"],
        "input": {**SHAPE._asdict(), "side": 8, "value_range": None},
        "temperature": 1.0,
        "calibration": {"n_labels": 0, "n_test": 9, "ece": 0.1, "ece_before": 0.1},
        "row": {"n_test": 9},
    }
    write_card(folder, said)
    return folder


def without(*path: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        card = json.loads((folder / "card.json").read_text())
        place = card
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]
        (folder / "card.json").write_text(json.dumps(card))

    return damage


def saying(value: Any, *path: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        card = json.loads((folder / "card.json").read_text())
        place = card
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        (folder / "card.json").write_text(json.dumps(card))

    return damage


def shortened(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return damage


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (shortened("card.json"), "holds no winner"),
        (lambda folder: (folder / "card.json").write_text("[1]"), "holds no winner"),
        (without("winner"), "holds no winner"),
        (saying("mae", "winner"), "holds no winner"),
        (saying(99, "winner", "format"), "is of format 99"),
        (without("winner", "head"), "damaged: winner.head: field required"),
        (without("winner", "classes"), "damaged: winner.classes"),
        (without("winner", "input", "side"), "damaged: winner.input.side"),
        (saying(0, "winner", "temperature"), "damaged: winner.temperature"),
        (saying("detection", "winner", "task"), "damaged: winner.task"),
        (saying("segmentation", "winner", "task"), "do not fit together"),
        (saying(["a", "b"], "winner", "classes"), "do not fit together (3 classes where the card names 2)"),
        (saying({"kind": "nobody"}, "winner", "head"), "do not fit together"),
        (saying("block9", "winner", "layer"), "do not fit together"),
        (shortened("head.safetensors"), "do not fit together"),
        (lambda folder: (folder / "head.safetensors").unlink(), "do not fit together"),
        (shortened("encoder.safetensors"), "card.json or encoder.safetensors is damaged"),
        (lambda folder: (folder / "encoder.safetensors").unlink(), "holds no encoder"),
        (without("format"), "card.json or encoder.safetensors is damaged"),
        (without("family"), "card.json or encoder.safetensors is damaged"),
        (saying("nobody", "family"), "card.json or encoder.safetensors is damaged"),
        (saying({"channels": 1}, "shape"), "card.json or encoder.safetensors is damaged"),
        (saying({"widths": "many"}, "arguments"), "card.json or encoder.safetensors is damaged"),
        (saying([1.0, "x"], "mean"), "card.json or encoder.safetensors is damaged"),
        (saying(9, "format"), "holds an encoder of format 9"),
    ],
)
def test_a_damaged_winner_is_one_line(
    winner: Path,
    damage: Callable[[Path], None],
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "images" / "a.png")
    load_winner(winner)
    damage(winner)
    with pytest.raises(SystemExit) as stopped:
        main(["predict", str(winner), str(tmp_path / "images"), "--to", str(tmp_path / "out.parquet")])
    err = capsys.readouterr().err
    assert stopped.value.code == 2
    assert told in err.replace("\n", "")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out.parquet").exists()


def test_a_winner_whose_card_lost_its_files_is_replaced(winner: Path) -> None:
    without("winner", "files")(winner)
    check_folder(winner)
    with replacing_folder(winner) as folder:
        (folder / "card.json").write_text("{}")
    assert (winner / "card.json").read_text() == "{}"


def test_a_card_of_the_first_format_is_read(winner: Path) -> None:
    saying(1, "winner", "format")(winner)
    without("winner", "task")(winner)
    without("winner", "calibration", "n_test")(winner)
    _, card = load_winner(winner)
    assert card["format"] == 1
