"""Fusion: what is joined, what the control is, and that a partner is encoded once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.data.catalog import Dataset
from bench.methods.encoder import Encoder
from bench.protocols import fusion, linear
from bench.study.protocols import PARTNER_ONLY, FusionOptions, LinearOptions
from tests.protocols.conftest import evaluation, small_options


def test_the_control_is_the_linear_probe_of_the_partner(
    digits: Dataset, conv: Encoder, pixels: Encoder, root: Path
) -> None:
    fused = fusion.run(evaluation(digits, conv, root, small_options("fusion", partner="pixels")))
    control = [score for score in fused if score.cell.fuse == PARTNER_ONLY]
    alone = linear.run(evaluation(digits, pixels, root, small_options("linear")))
    assert [score.metrics for score in control] == [score.metrics for score in alone]
    assert all(score.extra["partner"] == "pixels" for score in fused)


def test_partner_seeds_are_different_networks_with_features_of_their_own(
    digits: Dataset, conv: Encoder, tmp_path: Path
) -> None:
    results = []
    for seed in (0, 1, 0):
        options = FusionOptions(label_budgets=[2], draws=1, partner="unet_nano", partner_seed=seed)
        results.append(fusion.run(evaluation(digits, conv, tmp_path, options))[-1].metrics["nll"])
    assert results[0] == results[2] != results[1]
    folders = [path for path in (tmp_path / "artifacts" / "features").iterdir() if not path.name.startswith("test-")]
    assert len(folders) == 2


def test_bytes_added_count_the_partner(digits: Dataset, conv: Encoder, root: Path) -> None:
    fused = fusion.run(evaluation(digits, conv, root, small_options("fusion", partner="unet_nano")))
    probed = linear.run(evaluation(digits, conv, root, LinearOptions(label_budgets=[1], draws=1)))
    assert fused[0].extra["bytes_added"] > 4 * fused[0].extra["partner_parameters"] > 0
    assert probed[0].extra["bytes_added"] == pytest.approx(4 * 129 * 10)
