"""Heads fitted once more: they answer as the protocol does, survive their file, and are calibrated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bench.data.catalog import Dataset, open_dataset
from bench.engine.winner.calibration import HOTTEST, calibration_error, fit_temperature
from bench.engine.winner.heads import HEAD, load_head, save_head
from bench.engine.winner.model import WinnerModel, logits_of
from bench.engine.winner.page import plain
from bench.engine.winner.page_code import head_lines
from bench.engine.winner.program import write_program
from bench.engine.winner.refit import REFITS
from bench.methods.encoder import Encoder, build_encoder
from bench.protocols.base import Evaluation
from bench.protocols.features import encode
from bench.protocols.metrics import measure
from bench.study.protocols import PROTOCOLS, Cell
from bench.study.spec import DataSpec

LARS = {"solver": "lars", "epochs": 20, "lr_grid": [0.3]}
TUNED = {"steps": 15, "epochs": 1, "batch_size": 32, "augmentation": "none"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def dataset(root: Path) -> Dataset:
    return open_dataset(DataSpec(name="digits", max_train=300, max_test=150), root)


@pytest.fixture(scope="module")
def encoder(dataset: Dataset) -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_encoder("conv_nano", dataset.shape, dataset.mean.tolist(), dataset.std.tolist()).eval()


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        ("linear", {}),
        ("linear", {"imbalance": "logit_adjustment", "draw_strategy": "uniform"}),
        ("linear", LARS),
        ("knn", {}),
        ("knn", {"distance": "cosine", "selection": "held_out"}),
        ("nearest_centroid", {}),
        ("nearest_centroid", {"distance": "cosine"}),
        ("finetune", TUNED),
    ],
)
def test_a_head_answers_as_its_protocol_does(
    root: Path, dataset: Dataset, encoder: Encoder, protocol: str, options: dict[str, Any], tmp_path: Path
) -> None:
    chosen = PROTOCOLS[protocol](**options)
    layer = "stage2" if chosen.reads_features else "last"
    cell = Cell("3" if options.get("draw_strategy") else "10", 1, layer, None)
    features = encode(encoder, dataset, [layer] if chosen.reads_features else [], root, "test")
    evaluation = Evaluation(dataset, lambda: encoder, features, chosen, [cell], seed=7, root=root)
    refit = REFITS[protocol](evaluation)
    test = dataset.splits.test
    truth = dataset.splits.labels[test]
    if refit.encoder is None:
        logits = refit.head(torch.from_numpy(np.array(features.layer(layer)[test])))
    else:
        logits = logits_of(WinnerModel(refit.encoder, layer, refit.head), dataset.images.images, test)
        assert any(
            not torch.equal(old, new) for old, new in zip(encoder.parameters(), refit.encoder.parameters(), strict=True)
        )
    assert np.packbits(logits.argmax(1).numpy() == truth).tobytes() == refit.score.correct
    assert refit.score.metrics["accuracy"] > 0.2
    if protocol != "knn":  # whose shares are smoothed, so that none is zero
        scores = measure(torch.softmax(logits.double(), 1).numpy()[None], truth).metrics
        assert scores["nll"][0] == pytest.approx(refit.score.metrics["nll"], rel=1e-4)

    save_head(refit.head, tmp_path)
    loaded = load_head(refit.head.settings(), tmp_path)
    raw = torch.randn(20, len(refit.head.mean)) * 3
    assert torch.allclose(loaded(raw), refit.head(raw), rtol=1e-12)  # a sum may be taken in another order
    saved = load_file(tmp_path / HEAD)
    card = {"winner": {"temperature": 2.0, "head": refit.head.settings()}}
    kept = raw.half() if refit.head.rounded else raw
    scope = {"torch": torch, "head": saved, "card": card}
    exec("\n".join(["def model(points):", *head_lines(refit.head.settings())]), scope)
    shown = scope["model"]((kept.double() - saved["mean"]) * saved["scale"])
    assert torch.allclose(shown.double().softmax(1), (refit.head(raw) / 2).softmax(1), atol=1e-6)


def test_a_network_with_votes_becomes_a_program(root: Path, dataset: Dataset, encoder: Encoder, tmp_path: Path) -> None:
    features = encode(encoder, dataset, ["stage2"], root, "test")
    cell = Cell("2", 0, "stage2", None)
    refit = REFITS["knn"](Evaluation(dataset, lambda: encoder, features, PROTOCOLS["knn"](), [cell], 0, root))
    model = WinnerModel(encoder, "stage2", refit.head).eval()
    assert write_program(model, tmp_path) is None
    images = torch.rand(5, *dataset.shape)
    with torch.no_grad():
        found = torch.export.load(tmp_path / "model.pt2").module()(images)
        assert torch.allclose(found, model(images), atol=1e-4)


def test_the_temperature_is_the_one_that_labels_were_drawn_at() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20_000, 5, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(torch.softmax(logits, 1), 1, generator=generator)[:, 0]
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.03)
    assert fit_temperature(logits, labels) == pytest.approx(1, rel=0.03)
    assert calibration_error(logits, labels) < 0.02 < calibration_error(3 * logits, labels)
    assert fit_temperature(logits[:0], labels[:0]) == 1.0
    assert 1 / HOTTEST <= fit_temperature(logits, logits.argmax(1)) < 0.1  # nothing is ever wrong


def test_the_calibration_error_is_that_of_the_rows() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(500, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (500,), generator=generator)
    expected = measure(torch.softmax(logits, 1).numpy()[None], labels.numpy()).metrics["ece"][0]
    assert calibration_error(logits, labels) == pytest.approx(expected, abs=1e-6)


def test_a_class_without_labels_does_not_decide_the_temperature() -> None:
    logits = torch.tensor([[2.0, 0.0, -1e30]] * 8 + [[0.0, 2.0, -1e30]] * 8, dtype=torch.float64)
    labels = torch.tensor([0] * 6 + [1, 2] + [1] * 6 + [0, 2])
    assert 0.5 < fit_temperature(logits, labels) < 2


def test_names_of_others_format_nothing() -> None:
    assert plain("a|b\n# <img> [x](y) `c`") == r"a\|b \# &lt;img&gt; \[x\](y) \`c\`"
