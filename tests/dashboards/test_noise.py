"""The page of label noise: plane, words, drift, and what it says where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bench.store.drift import write_drift
from dashboards.loading import has_noise
from tests.results.noisy import write_noisy
from tests.results.synthetic import ENTRANTS, write_study
from tests.results.test_drift import lines

Run = Callable[..., AppTest]
VIEW = "views/noise.py"


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("noisy")
    key = write_noisy(root, handling=("none", "label_smoothing"))
    write_drift(root, key, lines())
    return root


def texts(app: AppTest) -> str:
    return "\n".join(element.value for element in [*app.markdown, *app.caption]).replace("\\", "")


def test_the_plane_has_a_figure_and_a_sentence_for_each_budget(run: Run, noisy: Path) -> None:
    app = run(VIEW, noisy)
    assert not app.exception
    assert app.title[0].value.replace("\\", "").startswith("Pretraining on noisy labels gains in ")
    plane, drift = (json.loads(chart.proto.spec) for chart in app.get("plotly_chart"))
    assert plane["data"][0]["type"] == "heatmap"
    assert "64 labelled images: the gain in mean IoU is above zero up to 38 % of the information lost" in texts(app)
    assert "Freeze enc1 and enc2, whose drift lies below 0.5" in texts(app)
    assert len(drift["data"]) == 1
    assert len(app.dataframe[0].value) == 12


def test_the_choice_of_plane_and_metric_is_in_the_address(run: Run, noisy: Path) -> None:
    app = run(VIEW, noisy, plane="handling=none: segmentation", metric="pixel accuracy")
    assert app.selectbox(key="plane").value == "handling=none: segmentation"
    assert "the gain in pixel accuracy" in texts(app)


def test_a_study_without_noise_is_told_so_and_the_page_is_not_linked(run: Run, tmp_path: Path, noisy: Path) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:2], seeds=2, draws=2)
    app = run(VIEW, tmp_path)
    assert not app.exception
    assert app.title[0].value == "No label noise was varied"
    assert app.code[0].value == "bench drift"
    assert (has_noise(tmp_path), has_noise(noisy)) == (False, True)
    assert not run("app.py", noisy).exception
