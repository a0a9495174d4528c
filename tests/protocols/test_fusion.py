"""Fusion: what is joined, what the controls are, and that a partner is encoded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from bench.data.catalog import Dataset
from bench.errors import UserError
from bench.methods.encoder import Encoder, save_encoder
from bench.methods.flops import encoder_flops
from bench.methods.fusion_partner import build_partner
from bench.protocols import fusion, linear
from bench.protocols.base import Score
from bench.study.methods import PartnerOptions, PcaPixelsOptions
from bench.study.protocols import NO_LAYER, PARTNER_ONLY, Cell, FusionOptions, LinearOptions
from tests.protocols.conftest import build, evaluation, small_options


def by_fuse(scores: list[Score], fuse: str) -> list[Score]:
    return [score for score in scores if score.cell.fuse == fuse]


def test_the_control_is_the_linear_probe_of_the_partner(
    digits: Dataset, conv: Encoder, pixels: Encoder, root: Path
) -> None:
    fused = fusion.run(evaluation(digits, conv, root, small_options("fusion", partner="pixels")))
    control = by_fuse(fused, PARTNER_ONLY)
    alone = linear.run(evaluation(digits, pixels, root, small_options("linear")))
    assert [score.metrics for score in control] == [score.metrics for score in alone]
    assert all(score.extra["partner"] == "pixels" for score in fused)


def test_partner_seeds_are_different_networks_with_features_of_their_own(
    digits: Dataset, conv: Encoder, tmp_path: Path
) -> None:
    results = []
    for seed in (0, 1, 0):
        options = FusionOptions(label_budgets=[2], draws=1, partner="unet_nano", partner_seed=seed)
        wanted = [Cell("2", 0, NO_LAYER, PARTNER_ONLY)]
        results.append(fusion.run(evaluation(digits, conv, tmp_path, options, wanted))[0].metrics["nll"])
    assert results[0] == results[2] != results[1]
    folders = [path for path in (tmp_path / "artifacts" / "features").iterdir() if not path.name.startswith("test-")]
    assert len(folders) == 2


@pytest.mark.parametrize(
    ("fuse", "joined"),
    [
        ("second_partner", PartnerOptions(encoder="conv_nano", init_seed=1)),
        ("pixels_pca_8", PcaPixelsOptions(components=8)),
    ],
)
def test_a_control_is_the_linear_probe_of_both_side_by_side(
    fuse: str, joined: object, digits: Dataset, conv: Encoder, root: Path
) -> None:
    """Joining the other with the partner, or the partner with the other, is the same head on swapped columns."""
    options = small_options("fusion", label_budgets=[10], draws=1)
    control = fusion.run(evaluation(digits, conv, root, options, [Cell("10", 0, NO_LAYER, fuse)]))[0]
    encoder = build(digits, joined)
    if isinstance(joined, PcaPixelsOptions):
        from bench.methods.pca_pixels import PcaPixels

        method = PcaPixels(joined, digits.shape, digits.mean.tolist(), digits.std.tolist())
        method.fit(digits.images.images, digits.splits.train, 0)
        encoder = method.encoder().eval()
    assert encoder.layers[encoder.default_layer].channels in (8, 128)
    task = evaluation(digits, encoder, root / fuse, options, [Cell("10", 0, encoder.default_layer, "concat")])
    assert control.metrics["nll"] == pytest.approx(fusion.run(task)[0].metrics["nll"], rel=1e-4)


def test_bytes_added_count_the_partner_and_what_it_is_joined_with(digits: Dataset, conv: Encoder, root: Path) -> None:
    options = FusionOptions(partner="unet_nano", label_budgets=[1], draws=1)
    fused = fusion.run(evaluation(digits, conv, root, options))
    weights = 4 * fused[0].extra["partner_parameters"]
    added = {score.cell.fuse: score.extra["bytes_added"] for score in fused}
    assert added["concat"] == weights + 4 * (128 + 64 + 1) * 10
    assert added["partner_only"] == weights + 4 * (64 + 1) * 10
    assert added["second_partner"] == 2 * weights + 4 * (64 + 64 + 1) * 10
    assert added["pixels_pca_8"] == weights + 4 * 8 * (64 + 1) + 4 * (64 + 8 + 1) * 10
    assert fused[0].extra["partner_flops"] > 1e5
    probed = linear.run(evaluation(digits, conv, root, LinearOptions(label_budgets=[1], draws=1)))
    assert probed[0].extra["bytes_added"] == pytest.approx(4 * 129 * 10)


def test_the_partner_is_built_with_published_weights_from_a_file(digits: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = timm.create_model("test_resnet", num_classes=0, in_chans=3)
    save_file(network.state_dict(), path)
    arguments = (digits.shape, digits.mean.tolist(), digits.std.tolist())
    encoder = build_partner(PartnerOptions(encoder="timm/test_resnet", weights=str(path)), *arguments)
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(encoder.backbone.conv1[1].weight, network.conv1[1].weight)
    assert encoder.eval()(images).isfinite().all()
    assert encoder_flops(encoder) > 0
    with pytest.raises(UserError, match=r"lacks .* of the .* parameters"):
        build_partner(PartnerOptions(encoder="timm/test_vit", weights=str(path)), *arguments)


def test_weights_that_cannot_be_downloaded_are_one_line_that_says_what_to_do(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("cannot find the requested files. Check your connection.\nand so on")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_url", offline, raising=False)
    monkeypatch.setattr("timm.models._builder.load_pretrained", offline)
    options = PartnerOptions(encoder="timm/test_resnet")
    with pytest.raises(UserError, match=r"'timm/test_resnet' could not be downloaded \(cannot.*partner_weights: PATH$"):
        build_partner(options, digits.shape, digits.mean.tolist(), digits.std.tolist())


def test_an_encoder_pretrained_here_can_be_the_partner(digits: Dataset, tmp_path: Path) -> None:
    arguments = (digits.shape, digits.mean.tolist(), digits.std.tolist())
    trained = build_partner(PartnerOptions(encoder="conv_nano", init_seed=3), *arguments).eval()
    save_encoder(trained, tmp_path)
    path = str(tmp_path / "encoder.safetensors")
    loaded = build_partner(PartnerOptions(encoder="conv_nano", weights=path), *arguments).eval()
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded(images), trained(images))
    with pytest.raises(UserError, match=r"fusion.partner_weights: .* does not fit the partner"):
        build_partner(PartnerOptions(encoder="unet_nano", weights=path), *arguments)


def test_logit_adjustment_is_the_plain_head_less_the_log_prior(digits: Dataset, conv: Encoder, root: Path) -> None:
    """On balanced labels the prior is a constant, and nothing changes; on all of an imbalanced pool the bias moves."""
    changes = {"label_budgets": [10], "draws": 1, "selection": "fixed"}
    plain, adjusted, weighted = (
        linear.run(evaluation(digits, conv, root, small_options("linear", imbalance=remedy, **changes)))[0]
        for remedy in ("none", "logit_adjustment", "class_weights")
    )
    assert plain.metrics["nll"] == pytest.approx(adjusted.metrics["nll"], rel=1e-6)
    assert plain.metrics["nll"] == pytest.approx(weighted.metrics["nll"], rel=1e-4)
    assert np.array_equal(plain.class_correct, adjusted.class_correct)
