"""Digits, and encoders of it, shared by the protocol tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.data.catalog import Dataset, open_dataset
from bench.methods.encoder import Encoder
from bench.methods.registry import build_method
from bench.protocols.base import Evaluation
from bench.protocols.features import encode
from bench.study.methods import MethodOptions, PixelsOptions, RandomInitOptions
from bench.study.protocols import PROTOCOLS, Cell, FinetuneOptions, ProtocolOptions, cells
from bench.study.spec import DataSpec


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="session")
def digits(root: Path) -> Dataset:
    return open_dataset(DataSpec(name="digits"), root)


def build(dataset: Dataset, options: MethodOptions) -> Encoder:
    mean, std = dataset.mean.tolist(), dataset.std.tolist()
    return build_method(options.name, options, dataset.shape, mean, std, 0).encoder().eval()


@pytest.fixture(scope="session")
def pixels(digits: Dataset) -> Encoder:
    return build(digits, PixelsOptions())


@pytest.fixture(scope="session")
def conv(digits: Dataset) -> Encoder:
    return build(digits, RandomInitOptions(encoder="conv_nano"))


def small_options(name: str, **changes: object) -> ProtocolOptions:
    """Options that make any protocol quick."""
    changes = {"label_budgets": [1, 10], "draws": 2} | changes
    if PROTOCOLS[name] is FinetuneOptions:
        changes = {"steps": 6, "epochs": 1, "batch_size": 16, "folds": 2, "lr_grid": [1e-3, 1e-2]} | changes
    return PROTOCOLS[name](**changes)


def evaluation(
    dataset: Dataset, encoder: Encoder, root: Path, options: ProtocolOptions, wanted: list[Cell] | None = None
) -> Evaluation:
    layer = encoder.default_layer
    features = encode(encoder, dataset, [layer], root, f"test-{layer}")
    wanted = cells(options, [layer]) if wanted is None else wanted
    return Evaluation(dataset, lambda: encoder, features, options, wanted, seed=0, root=root)
