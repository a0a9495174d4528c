from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from bench.store.trials import write_trial
from tests.dashboards.conftest import MORE, Run
from tests.dashboards.furnished import CLAIMS, SEARCH, edit_manifest, write_records, write_rich
from tests.dashboards.test_pages import bare, figures, title
from tests.results.synthetic import ENTRANTS, Truth, write_study


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rich")
    write_rich(root)
    return root


def texts(app: AppTest) -> str:
    return bare(" ".join(element.value for element in [*app.markdown, *app.caption]))


@pytest.mark.parametrize("page", MORE)
def test_every_page_names_its_study_and_has_one_title(run: Run, rich: Path, page: str) -> None:
    app = run(page, rich)
    assert title(app)
    assert bare(app.caption[0].value) == "mae-mask-ratio · fashion_mnist · 10 classes · 400 test images"


def test_the_sweep_says_which_setting_is_best(run: Run, rich: Path) -> None:
    app = run("views/sweep.py", rich)
    assert re.match(r"mae(: the best| is best at) mask_ratio .*0\.75", title(app))
    assert "A parabola through all settings has its top at" in texts(app)
    response, cells, trials = figures(app)
    assert response["layout"]["xaxis"]["ticktext"] == ["0.5", "0.75", "0.9"]
    assert len(cells["data"][0]["x"]) == 6
    assert {trace["line"]["dash"] for trace in trials["data"]} == {"solid", "dot", "dash"}


def test_the_trials_table_shows_pruned_and_diverged(run: Run, rich: Path) -> None:
    table = run("views/sweep.py", rich).dataframe[-1].value
    assert table["State"].to_list() == ["complete", "complete, best", "complete", "pruned", "diverged"]
    assert table["Reason"].iloc[-1] == "the loss was not finite at step 31"


def test_a_link_chooses_axis_budget_and_fields(run: Run, rich: Path) -> None:
    query = {
        "axis": "mae.mask_ratio",
        "budget": "10",
        "metric": "accuracy",
        "across": "mask_ratio",
        "down": "label budget",
    }
    app = run("views/sweep.py", rich, **query)
    assert "accuracy, at 10 labels a class" in texts(app)
    assert figures(app)[1]["data"][0]["x"] == ["0.5", "0.75", "0.9"]
    app = run("views/sweep.py", rich, across="mask_ratio", down="mask_ratio")
    assert "Choose two different fields." in [element.value for element in app.info]


def test_a_sweep_without_axes_or_trials_has_words_for_it(run: Run, tmp_path: Path) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:4], seeds=2, draws=2)
    app = run("views/sweep.py", tmp_path)
    assert title(app) == "No axis was varied"
    assert "Fewer than two fields vary here" in app.info[0].value
    assert "This study searched nothing" in texts(app)


def test_runs_lists_every_pretraining_with_its_loss(run: Run, rich: Path) -> None:
    app = run("views/runs.py", rich)
    assert title(app) == "18 pretrainings, 4 of them not ok"
    table = app.dataframe[0].value
    assert len(table) == 18
    assert "collapsed: the loss was not finite at step 310" in set(table["Status"])
    loss, probe = figures(app)
    assert {trace["name"] for trace in loss["data"]} == {"dino"}
    assert len(probe["data"]) == 3
    assert "Nothing is running here now." in texts(app)


def test_runs_follows_a_running_study(run: Run, tmp_path: Path) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:4], seeds=1, draws=1)
    (tmp_path / "progress").mkdir()
    counts = {"study": "mae", "done": 3, "total": 8, "trials": 4, "trials_done": 4, "failed": 1, "seconds_left": 240}
    (tmp_path / "progress" / "s.json").write_text(json.dumps(counts | {"best": "<b>", "updated": time.time()}))
    app = run("views/runs.py", tmp_path)
    assert {metric.label: metric.value for metric in app.metric} == {
        "Trials": "4 / 4",
        "Pretrainings": "3 / 8",
        "Failed": "1",
        "Time left": "4 min",
    }
    (bar,) = app.get("progress")
    assert bare(bar.proto.text) == "mae · best so far <b>"
    assert "<b>" not in bar.proto.text


def test_runs_without_records_or_pretrainings(run: Run, tmp_path: Path) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:1], seeds=1, draws=1)
    app = run("views/runs.py", tmp_path)
    assert title(app) == "0 pretrainings"
    assert "No pretraining yet" in app.info[0].value
    write_study(tmp_path, entrants=ENTRANTS[:4], seeds=1, draws=1, name="other")
    app = run("views/runs.py", tmp_path, study="other")
    assert "No loss is on record" in texts(app)
    write_records(tmp_path)
    (figure,) = figures(run("views/runs.py", tmp_path, study="other"))
    assert figure["data"][0]["name"] == "simclr"


def test_claims_have_verdict_effect_and_interval(run: Run, rich: Path) -> None:
    app = run("views/claims.py", rich)
    assert title(app).startswith("3 claims: 1 supported")
    assert title(app).endswith("1 not testable here")
    assert [bare(element.value) for element in app.subheader] == [claim["name"] for claim in CLAIMS]
    words = texts(app)
    assert re.search(
        r"The difference is \+0\.\d{3} \(\+0\.\d{3} to \+0\.\d{3}\), p < 0\.001; the margin was 0\.01\.", words
    )
    assert "better: no rows of mae[mask_ratio=0.1] under linear" in words


def test_a_study_without_claims_says_how_to_state_one(run: Run, root: Path) -> None:
    app = run("views/claims.py", root)
    assert title(app) == "This study states no claims"
    assert "better: {mae.mask_ratio: 0.75}" in app.code[0].value


def test_returns_names_the_cheapest_at_the_readers_prices(run: Run, rich: Path) -> None:
    app = run("views/returns.py", rich, target="0.75", label="1.5", hour="3")
    assert re.fullmatch(r"simclr \+ linear reaches balanced accuracy 0\.75 for [\d,.]+", title(app))
    table = app.dataframe[0].value.set_index("Entrant")
    assert table.loc["simclr + linear", "Compute"] == "2.7 h"
    assert len(figures(app)) == 1
    app = run("views/returns.py", rich, target="0.75", label="0.0001", hour="1000")
    assert title(app).startswith("pixels + linear reaches")
    assert "none pays for itself here" in texts(app)
    table = run("views/returns.py", rich, target="0.95").dataframe[0].value.set_index("Entrant")
    assert table.loc["random_init + linear", "Total cost"] == "not reached"
    assert table.loc["random_init + linear", "Labels"] == "more than 10,000"


def test_free_labels_and_compute_cost_nothing(run: Run, rich: Path) -> None:
    app = run("views/returns.py", rich, label="0", hour="0")
    assert title(app).endswith("for 0.00")
    assert app.info[0].value == "At these prices everything is free."


def test_export_offers_files_and_the_citation(run: Run, rich: Path) -> None:
    app = run("views/export.py", rich, entrants="simclr + linear")
    assert title(app) == "Take the results away"
    labels = [button.proto.label for button in app.get("download_button")]
    assert labels == [
        "CSV",
        "Parquet",
        "LaTeX",
        "Parquet",
        "CSV",
        "Label efficiency",
        "Labels saved",
        "Leaderboard",
        "Bundle",
    ]
    assert "What is selected: 1 of 10 entrants." in texts(app)
    assert "digest" in app.code[0].value


def test_the_bundle_of_a_large_study_is_made_when_asked_for(
    run: Run, rich: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.results.takeaway.LARGE", 10)
    app = run("views/export.py", rich)
    assert "Bundle" not in [button.proto.label for button in app.get("download_button")]
    assert not app.code
    (asked,) = [button for button in app.button if button.label.startswith("Make the bundle of")]
    for again in (asked.click().run(), app.run()):
        assert "Bundle" in [button.proto.label for button in again.get("download_button")]
        assert "digest" in again.code[0].value


@pytest.mark.parametrize("page", MORE)
def test_half_a_study_has_every_page(run: Run, tmp_path: Path, page: str) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:7], seeds=2, draws=2, missing=9)
    (tmp_path / "rows" / "truncated.parquet").write_bytes(b"PAR1\x00")
    assert title(run(page, tmp_path))


@pytest.mark.parametrize("page", ["views/sweep.py", "views/runs.py", "views/export.py"])
def test_damaged_trials_are_not_read(run: Run, tmp_path: Path, page: str) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:2], seeds=1, draws=1)
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "x.parquet").write_bytes(b"PAR1 not really PAR1")
    app = run(page, tmp_path)
    assert not app.exception


@pytest.mark.parametrize("page", MORE)
def test_names_are_text_on_every_page(run: Run, tmp_path: Path, page: str) -> None:
    name = "<img src=x onerror=alert(1)> **b** $x$ :red[y] [link](http://x)"
    evil = [Truth(name, "linear", level, 0.25, (("axis", value),)) for value, level in ((1.0, 0.1), (2.0, -0.3))]
    key = write_study(tmp_path, entrants=[*ENTRANTS[:2], *evil], seeds=2, draws=2, name="a*b")
    claim = {"name": name, "better": {"method": name}, "worse": {"pixels": None}, "metric": name}
    edit_manifest(tmp_path, key, claims=[claim])
    app = run(page, tmp_path)
    assert title(app)
    for element in [*app.title, *app.subheader, *app.markdown, *app.caption]:
        assert re.findall(r"(?<!\\)<img|(?<!\\)\*\*|(?<!\\):red", element.value) == [], element.value
        assert not getattr(element, "allow_html", False)
    for figure in figures(app):
        assert "<img" not in json.dumps(figure["data"]) + json.dumps(figure["layout"].get("annotations", []))


def test_runs_shows_the_pictures_of_a_run(run: Run, tmp_path: Path) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:4], seeds=2, draws=1)
    write_records(tmp_path)
    assert "No pictures: these methods draw none" in texts(run("views/runs.py", tmp_path))
    for folder in (tmp_path / "artifacts" / "encoders").iterdir():
        (folder / "previews").mkdir()
        Image.new("RGB", (40, 8)).save(folder / "previews" / "0_input.png")
        (folder / "previews" / "1_view1.png").write_bytes(b"<svg onload=alert(1)>")
    app = run("views/runs.py", tmp_path)
    assert title(app)
    assert app.selectbox(key="pictures").options == ["simclr vit_tiny, seed 0", "simclr vit_tiny, seed 1"]
    (image,) = app.get("image")
    assert image.captions == ["input"]
    assert "view1: the picture cannot be read." in texts(app)


def test_claims_of_parts_of_factors_and_of_what_cannot_be_tested(run: Run, tmp_path: Path) -> None:
    sides = [{"better": {"simclr": None}, "worse": {name: None}} for name in ("pixels", "random_init")]
    claims = [
        {"name": "both", "metric": "linear.accuracy", "all": sides},
        {"name": "factor", "metric": "linear.labels_saved", "margin": 1.1, **sides[0]},
        {"name": "elsewhere", "not_testable": "it takes clinical images"},
    ]
    write_rich(tmp_path, claims=claims)
    app = run("views/claims.py", tmp_path)
    assert title(app).endswith("1 not testable here")
    words = texts(app)
    assert "simclr + linear against random_init + linear, supported: the difference is +0." in words
    assert re.search(
        r"The factor of labels saved is [\d.]+× \([\d.]+× to [\d.]+×\), p .*; the margin was 1\.1×\.", words
    )
    assert "It cannot be tested here: it takes clinical images." in words


def test_export_offers_figures_for_print(run: Run, rich: Path) -> None:
    app = run("views/export.py", rich, figures="PDF")
    assert title(app)
    labels = [bare(button.proto.label) for button in app.get("download_button")]
    assert labels[5:8] == ["Label efficiency", "Labels saved", "Response mae.mask_ratio_linear"]
    assert "For print." in texts(app)


def test_the_sweep_weighs_the_parameters_where_trials_are_enough(run: Run, tmp_path: Path) -> None:
    write_rich(tmp_path)
    assert "What matters most to mae is not shown: it takes 8 finished trials, and there are 3." in texts(
        run("views/sweep.py", tmp_path)
    )
    for number in range(10, 18):
        write_trial(
            tmp_path,
            search_key=SEARCH,
            number=number,
            method="mae",
            setting={"mask_ratio": 0.5},
            parameters={"lr": 1e-4 * number, "norm_pix": number % 2 == 0},
            objective="linear.balanced_accuracy@10",
            state="complete",
            value=0.4 + 0.01 * number,
            curve=[],
            reason=None,
            seconds=1.0,
        )
    app = run("views/sweep.py", tmp_path)
    assert title(app)
    assert "Importance over 11 finished trials" in texts(app)
    bars = figures(app)[-1]["data"][0]
    assert set(bars["text"]) == {"lr", "norm_pix"}
