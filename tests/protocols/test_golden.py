"""Numbers of tiny runs. When one changes on purpose, bump the protocol's version in bench/study/protocols/."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.data.catalog import Dataset
from bench.methods.encoder import Encoder
from bench.protocols.registry import PROTOCOLS
from bench.study import protocols as study
from tests.protocols.conftest import LABELLED, evaluation, small_options

# (version, nll of the first draw at 2 labels per class, nll of the last cell)
GOLDEN = {
    "finetune": (1, 1.92819, 2.77998),
    "finetune_mask": (1, 2.1406, 2.0777),
    "fusion": (4, 1.10044, 0.93783),
    "knn": (1, 8.82474, 5.44544),
    "linear": (4, 0.959473, 0.417503),
    "label_propagation": (1, 1.00780, 0.963514),
    "nearest_centroid": (1, 0.912953, 0.534089),
    "robustness": (4, 0.961373, 0.507266),
}


@pytest.mark.parametrize("name", sorted(LABELLED))
def test_numbers_are_those_of_the_version(
    name: str, digits: Dataset, pixels: Encoder, conv: Encoder, root: Path
) -> None:
    changes = {
        "finetune": {"lr_grid": None},
        "finetune_mask": {"lr_grid": None},
        "fusion": {"partner": "unet_nano", "controls": ["partner_only"]},
    }
    options = small_options(name, label_budgets=[2, 10], draws=1, **changes.get(name, {}))
    encoder = conv if name.startswith("finetune") else pixels  # fine-tuning needs weights, the others need none
    scores = PROTOCOLS[name](evaluation(digits, encoder, root, options))
    version, first, last = GOLDEN[name]
    assert study.PROTOCOLS[name].version == version, "record the new version's numbers here"
    found = scores[0].metrics["nll"], scores[-1].metrics["nll"]
    assert found == pytest.approx((first, last), rel=2e-3), "numbers changed: bump the version"
