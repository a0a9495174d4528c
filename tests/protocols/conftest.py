"""Digits, and encoders of it, shared by the protocol tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.data.catalog import Dataset, open_dataset
from bench.methods.encoder import Encoder
from bench.methods.registry import build_method
from bench.protocols.base import Evaluation, Score
from bench.protocols.features import encode
from bench.protocols.registry import PROTOCOLS as RUN
from bench.study.methods import MethodOptions, PixelsOptions, RandomInitOptions
from bench.study.protocols import (
    PROTOCOLS,
    Cell,
    FinetuneMaskOptions,
    FinetuneOptions,
    FusionOptions,
    ProtocolOptions,
    RobustnessOptions,
    cells,
    control_cells,
)
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


_QUICK = {"controls": ["partner_only"], "steps": 12, "epochs": 0, "batch_size": 64, "folds": 2}
# other forms of a protocol that keep to the same contract: PROTOCOL:FORM and the options it has
FORMS: dict[str, dict[str, object]] = {
    "fusion:mlp": {**_QUICK, "head": "mlp", "lr_grid": [1e-3, 1e-2]},
    "fusion:joint": {
        **_QUICK, "fuse": ["gated", "cross_attention"], "width": 16, "tokens": 2, "lr": 1e-2, "lr_grid": [3e-2],
    },
    "linear:lars": {"solver": "lars", "lr_grid": [0.05, 0.3], "folds": 2, "epochs": 40},
    "finetune:recipe": {
        "layer_decay": 0.75, "rand_augment": 5, "erase": 0.25, "mixup": 0.2, "cutmix": 0.5, "label_smoothing": 0.1,
        "ema": 0.9, "betas": [0.9, 0.95],
    },
    "finetune:last": {"last_blocks": 2, "imbalance": "balanced_sampling"},
    "fusion:trained": {**_QUICK, "train_partner": True, "lr": 1e-3, "lr_grid": [3e-3], "steps": 6},
}  # fmt: skip
# those of labelled images; what learns from masks has tests of its own
LABELLED = {name: run for name, run in RUN.items() if not PROTOCOLS[name].dense}
RUNS: dict[str, Callable[[Evaluation], list[Score]]] = LABELLED | {form: RUN[form.partition(":")[0]] for form in FORMS}


def small_options(name: str, **changes: object) -> ProtocolOptions:
    """Options that make any protocol quick."""
    changes = {"label_budgets": [1, 10], "draws": 2} | FORMS.get(name, {}) | changes
    name = name.partition(":")[0]
    if PROTOCOLS[name] is FusionOptions:  # the default partner's weights have to be downloaded
        changes = {"partner": "conv_nano", "controls": ["partner_only", "pixels_pca"]} | changes
    if PROTOCOLS[name] is RobustnessOptions:  # a mild shift, so that the heads still know what they see
        changes = {"severity": 1} | changes
    if PROTOCOLS[name] is FinetuneMaskOptions:
        changes = {"lr_grid": [5.0]} | changes
    if issubclass(PROTOCOLS[name], FinetuneOptions):
        changes = {"steps": 6, "epochs": 1, "batch_size": 16, "folds": 2, "lr_grid": [1e-3, 1e-2]} | changes
    return PROTOCOLS[name](**changes)


def evaluation(
    dataset: Dataset, encoder: Encoder, root: Path, options: ProtocolOptions, wanted: list[Cell] | None = None
) -> Evaluation:
    layer = encoder.default_layer
    features = encode(encoder, dataset, [layer], root, f"test-{layer}")
    if wanted is None:
        controls = control_cells(options, [8]) if isinstance(options, FusionOptions) else []
        wanted = cells(options, [layer]) + controls
    return Evaluation(dataset, lambda: encoder, features, options, wanted, seed=0, root=root)
