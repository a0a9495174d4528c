from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from skimage.color import hsv2rgb, rgb2hsv
from skimage.metrics import peak_signal_noise_ratio

from bench.data.catalog import Dataset
from bench.methods.encoder import Encoder
from bench.protocols import linear, robustness, shifts
from bench.protocols.robustness import run
from bench.protocols.shifts import SHIFTS, shifted
from bench.study.protocols import RobustnessOptions, Shift
from tests.protocols.conftest import evaluation, small_options

NAMES = list(get_args(Shift))


def pictures(channels: int, height: int = 32, width: int = 32) -> torch.Tensor:
    """Smooth random images with edges, float32 [6, C, H, W] in [0, 1]."""
    coarse = torch.rand(6, channels, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


def test_every_shift_that_may_be_asked_for_exists() -> None:
    assert set(SHIFTS) == set(NAMES)
    tables = [getattr(shifts, name.upper()) for name in NAMES]
    assert all(len(table) == 5 for table in tables)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 16, 40)])
@pytest.mark.parametrize("name", NAMES)
def test_a_higher_severity_changes_more(name: Shift, shape: tuple[int, int, int]) -> None:
    images, numbers = pictures(*shape), np.arange(6)
    results = [shifted(images, name, severity, numbers) for severity in range(1, 6)]
    change = [float((result - images).abs().mean()) for result in results]
    assert change[0] > 1e-4
    assert change == sorted(change)
    assert all(result.shape == images.shape and result.dtype == images.dtype for result in results)
    assert all(result.min() >= 0 and result.max() <= 1 for result in results)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_shifted_the_same_whatever_is_shifted_with_it(name: Shift) -> None:
    images, numbers = pictures(3), np.array([7, 3, 1, 12, 5, 9])
    before = torch.get_rng_state()
    together = shifted(images, name, 3, numbers)
    assert torch.equal(torch.get_rng_state(), before)
    for place in (0, 4):
        alone = shifted(images[place : place + 1], name, 3, numbers[place : place + 1])
        torch.testing.assert_close(alone[0], together[place], rtol=0, atol=1e-6)


def test_other_images_have_other_noise_and_other_turns() -> None:
    same = torch.full((40, 1, 16, 16), 0.5)
    noise = shifted(same, "noise", 5, np.arange(40)) - 0.5
    assert noise.std().item() == pytest.approx(0.2, rel=0.05)
    assert abs(torch.corrcoef(noise.flatten(1)).fill_diagonal_(0)).max() < 0.4
    ramp = torch.linspace(0, 1, 16).expand(40, 1, 16, 16)
    turned = {image.numpy().tobytes() for image in shifted(ramp, "rotation", 3, np.arange(40))}
    assert len(turned) == 2


def test_light_is_the_value_of_hsv() -> None:
    images = pictures(3) * 0.9
    hsv = rgb2hsv(images.permute(0, 2, 3, 1).numpy())
    hsv[..., 2] = (hsv[..., 2] + 0.3).clip(max=1)
    expected = torch.from_numpy(hsv2rgb(hsv)).permute(0, 3, 1, 2)
    torch.testing.assert_close(
        shifted(images, "brightness", 3, np.arange(6)), expected, rtol=0, atol=1e-5, check_dtype=False
    )


def test_turns_and_zooms_are_about_the_centre() -> None:
    image = torch.rand(1, 3, 9, 9)
    torch.testing.assert_close(shifts._move(image, 90.0, 1.0), image.rot90(-1, (2, 3)), rtol=0, atol=1e-5)
    torch.testing.assert_close(shifts._move(image, 0.0, 1.0), image, rtol=0, atol=1e-5)
    larger = shifts._move(pictures(1), 0.0, 2.0)
    expected = torch.nn.functional.interpolate(pictures(1)[:, :, 8:24, 8:24], scale_factor=2, mode="bilinear")
    torch.testing.assert_close(larger[:, :, 2:-2, 2:-2], expected[:, :, 2:-2, 2:-2], rtol=0, atol=1e-4)


def test_a_worse_jpeg_has_a_lower_signal_to_noise_ratio() -> None:
    images = pictures(3)
    ratios = [
        peak_signal_noise_ratio(images.numpy(), shifted(images, "jpeg", severity, np.arange(6)).numpy(), data_range=1)
        for severity in (1, 5)
    ]
    assert ratios[0] > 30 > 28 > ratios[1]


@pytest.mark.parametrize("severity", [0, 6, 2.5])
def test_a_severity_that_does_not_exist_is_refused(severity: float) -> None:
    with pytest.raises(ValidationError, match="severity"):
        RobustnessOptions(severity=severity)


def test_the_heads_are_those_of_clean_images(
    digits: Dataset, conv: Encoder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a shift that shifts nothing the scores are the linear probe's."""
    monkeypatch.setitem(SHIFTS, "blur", lambda images, level, numbers: images)
    changes = {"label_budgets": [2, 10], "draws": 2}
    shown = run(evaluation(digits, conv, root, small_options("robustness", shift="blur", **changes)))
    clean = linear.run(evaluation(digits, conv, root, small_options("linear", **changes)))
    for left, right in zip(shown, clean, strict=True):
        assert (left.cell, left.selected, left.correct) == (right.cell, right.selected, right.correct)
        assert left.metrics == pytest.approx(right.metrics, rel=1e-3)
        assert left.extra == right.extra | {"shift": "blur", "severity": 1}


def test_a_shift_costs_accuracy_and_more_of_it_costs_more(digits: Dataset, conv: Encoder, root: Path) -> None:
    def accuracy(severity: int) -> float:
        options = small_options("robustness", shift="noise", severity=severity, label_budgets=[10], draws=2)
        return float(np.mean([score.metrics["accuracy"] for score in run(evaluation(digits, conv, root, options))]))

    mild, strong = accuracy(1), accuracy(5)
    assert mild > strong + 0.02


def test_shifts_of_one_encoder_share_their_heads(
    digits: Dataset, conv: Encoder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[object] = []
    whole = robustness.fit_probes
    monkeypatch.setattr(robustness, "fit_probes", lambda *given: fitted.append(given) or whole(*given))
    task = evaluation(digits, conv, root, small_options("robustness", label_budgets=[2]))
    for shift in ("noise", "jpeg"):
        options = small_options("robustness", label_budgets=[2], shift=shift)
        run(type(task)(**{**vars(task), "options": options}))
    assert len(fitted) == 1
    run(type(task)(**{**vars(task), "options": small_options("robustness", label_budgets=[2], c_default=0.1)}))
    assert len(fitted) == 2
