"""Points that are left out of a grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.errors import UserError
from bench.study.expand import expand
from bench.study.load import load_study, parse_study
from bench.study.spec import Study

RAW: dict[str, Any] = {
    "study": "s",
    "data": {"name": "land_cover"},
    "methods": {"random_init": {"encoder": "unet_nano"}, "noisy_labels": {}},
    "scientific": {"noisy_labels.noise": ["flip", "permuted"], "noisy_labels.rate": [0.0, 0.5, 1.0]},
    "evaluate": [{"protocol": "segmentation", "label_budgets": [2]}],
}
STUDIES = Path(__file__).parents[2] / "search_spaces"


def parsed(*without: object, **changes: Any) -> Study:
    return parse_study({**RAW, "without": list(without), **changes}, "s")


def points(study: Study) -> set[tuple[str, float]]:
    return {(s.axes["noise"], s.axes["rate"]) for s in expand(study) if s.method == "noisy_labels"}


def test_a_point_is_left_out_where_it_has_all_the_values() -> None:
    every = {("none", 0.0), ("flip", 0.5), ("flip", 1.0), ("permuted", 0.5), ("permuted", 1.0)}
    assert points(parsed()) == every
    study = parsed({"noisy_labels.noise": "flip", "noisy_labels.rate": 1.0}, {"noisy_labels.noise": "permuted",
                   "noisy_labels.rate": [0.25, 0.5]})  # fmt: skip
    assert points(study) == every - {("flip", 1.0), ("permuted", 0.5)}
    assert len(expand(study)) == 1 + 3


def test_a_fixed_value_ends_an_axis_and_not_the_study() -> None:
    study = load_study(STUDIES / "paper_noisy_labels_small.yaml", ["noisy_labels.clean_share=0.0"])
    assert {s.options.clean_share for s in expand(study) if s.method == "noisy_labels"} == {0.0}


def test_the_resolved_study_reads_back() -> None:
    study = parsed({"noisy_labels.rate": 1.0})
    assert parse_study(study.as_json(), "s") == study


@pytest.mark.parametrize(
    ("point", "told"),
    [
        ({"noisy_labels.rat": 1.0}, "without.0.noisy_labels.rat: unknown option 'rat'"),
        ({"mae.mask_ratio": 1.0}, "without.0.mae.mask_ratio: unknown method 'mae'"),
        ({"noisy_labels.rate": 1.0, "random_init.encoder": "unet_nano"}, "without.0: names several methods"),
        ({"noisy_labels.rate": [0.0, 0.5, 1.0]}, "without: leaves no setting of noisy_labels"),
        ("noisy_labels.rate", "without"),
        ({}, "without"),
    ],
)
def test_mistakes_are_one_line(point: object, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        parsed(point)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["paper_noisy_labels", "paper_noisy_labels_small", "paper_noisy_labels_dubai_small"])
def test_the_studies_hold_the_anchors_of_the_plane(name: str) -> None:
    settings = [s.options for s in expand(load_study(STUDIES / f"{name}.yaml")) if s.method == "noisy_labels"]
    assert sum(options.noise == "none" for options in settings) == 1
    assert any(options.noise == "flip" and options.rate == 0.5 for options in settings)
    if "dubai" not in name:
        assert [options.rate for options in settings if options.noise == "permuted"] == [1.0]
        assert [options.rate for options in settings if options.clean_share] == [0.5]


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (["noisy_labels.rate=1.5"], "rate"),
        (["noisy_labels.rate=-0.1"], "rate"),
        (["noisy_labels.noise=salt"], "noise"),
        (["data.upstream=1.0"], "upstream"),
        (["data.chip=4"], "chip"),
        (["evaluate.segmentation.class_map={a: [field], ignore: [bare]}"], "class_map: two classes or more"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    sets: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [part for pair in sets for part in ("--set", pair)]
    with pytest.raises(SystemExit) as left:
        main(["run", str(STUDIES / "paper_noisy_labels_small.yaml"), *asked, "--results", str(tmp_path / "results")])
    assert left.value.code == 2
    error = capsys.readouterr().err.strip()
    assert told in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "results" / "rows").exists()
