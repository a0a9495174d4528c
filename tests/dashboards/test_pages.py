from __future__ import annotations

import json
import re
import time
from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.dashboards.conftest import DASHBOARDS, MORE, PAGES, Run
from tests.results.synthetic import ENTRANTS, START, Truth, write_study


def bare(text: str) -> str:
    """The text as a reader sees it, without the escapes."""
    return text.replace("\\", "")


def title(app: AppTest) -> str:
    assert not app.exception, app.exception[0].value
    (found,) = app.title
    return bare(found.value)


def figures(app: AppTest) -> list[dict[str, object]]:
    return [json.loads(element.proto.spec) for element in app.get("plotly_chart")]


@pytest.mark.parametrize("page", ["app.py", *PAGES])
def test_every_page_leads_with_the_finding(run: Run, root: Path, page: str) -> None:
    app = run(page, root)
    assert title(app).startswith("simclr + linear needs ")
    assert title(app).endswith("× fewer labels")
    below = bare(app.markdown[0].value)
    assert below.startswith("than the better of random_init + finetune and pixels + linear (95 %: ")
    assert "41 min of pretraining a seed" in below
    assert "Fewer than 5 seeds" in below
    assert bare(app.caption[0].value) == "mae-mask-ratio · fashion_mnist · 10 classes · 400 test images"


def test_the_table_has_every_entrant_best_first_and_the_failed_last(run: Run, root: Path) -> None:
    (table,) = run("views/leaderboard.py", root).dataframe
    assert len(table.value) == len(ENTRANTS)
    assert table.value["Entrant"].iloc[0] == "simclr + linear"
    last = table.value.iloc[-1]
    assert (last["Entrant"], last["#"], last["Score"], last["Status"]) == ("swav + linear", "-", "-", "collapsed")
    assert "diverged 1 of 3 seeds" in set(table.value["Status"])


def test_the_intervals_show_every_ranked_entrant(run: Run, root: Path) -> None:
    (figure,) = figures(run("views/leaderboard.py", root))
    names = [note["text"] for note in figure["layout"]["annotations"] if note["xanchor"] == "left"]
    assert len(names) == len(ENTRANTS) - 1
    assert "simclr + linear" in names[0]


def test_a_link_chooses_budget_metric_method_and_protocol(run: Run, root: Path) -> None:
    app = run("views/leaderboard.py", root, budget="10", metric="accuracy", method="mae", protocol="linear")
    assert title(app).startswith("At 10 labels a class, ")
    (table,) = app.dataframe
    assert {name.partition("[")[0] for name in table.value["Entrant"]} == {"mae"}
    assert "accuracy, at 10 labels a class" in bare(app.caption[-1].value)


@pytest.mark.parametrize("query", [{"budget": "7"}, {"metric": "<script>"}, {"method": "none"}, {"study": "none"}])
def test_a_stale_link_falls_back(run: Run, root: Path, query: dict[str, str]) -> None:
    app = run("views/leaderboard.py", root, **query)
    assert title(app).startswith("simclr + linear needs ")
    assert len(app.dataframe[0].value) == len(ENTRANTS)


def test_filters_change_no_number(run: Run, root: Path) -> None:
    everyone = run("views/leaderboard.py", root).dataframe[0].value.set_index("Entrant")
    some = run("views/leaderboard.py", root, protocol="finetune").dataframe[0].value.set_index("Entrant")
    assert len(some) == 2
    assert some["Score"].to_dict() == everyone.loc[some.index, "Score"].to_dict()


def test_a_filter_that_nothing_passes_says_so(run: Run, root: Path) -> None:
    app = run("views/leaderboard.py", root, method="pixels", protocol="finetune")
    assert not app.exception
    assert app.info[0].value == "No entrant matches the filters."


def test_colours_do_not_follow_the_budget(run: Run, root: Path) -> None:
    def colours(**query: str) -> dict[str, str]:
        (figure,) = figures(run("views/leaderboard.py", root, **query))
        points = [trace for trace in figure["data"] if trace["mode"] == "markers"]
        return {trace["customdata"][0][0]: trace["marker"]["color"] for trace in points}

    overall, at_ten = colours(), colours(budget="10")
    assert at_ten == {name: overall[name] for name in at_ten}


def test_the_curves_draw_the_best_and_the_reference(run: Run, root: Path) -> None:
    curves, saved, _ = figures(run("views/curves.py", root))
    names = {trace["name"] for trace in curves["data"]}
    assert {"simclr + linear", "pixels + linear", "random_init + finetune"} < names
    assert len(names) == 6
    assert {trace["name"] for trace in saved["data"]} == names - {"pixels + linear", "random_init + finetune"}


def test_the_reader_chooses_the_curves(run: Run, root: Path) -> None:
    app = run("views/curves.py", root)
    app.multiselect(key="entrants").set_value(["dino + linear"]).run()
    assert {trace["name"] for trace in figures(app)[0]["data"]} == {"dino + linear"}
    app.multiselect(key="entrants").set_value([]).run()
    assert app.info[0].value == "Choose at least one entrant to draw."


@pytest.mark.parametrize("page", ["app.py", *PAGES, *MORE])
def test_no_results_are_no_accident(run: Run, tmp_path: Path, page: str) -> None:
    for root, words in ((tmp_path, "no results here yet"), (tmp_path / "nowhere", "no such folder")):
        app = run(page, root)
        assert title(app) == "No results yet"
        assert words in bare(app.markdown[0].value)
        assert "bench run" in app.code[0].value


@pytest.mark.parametrize("page", [*PAGES, *MORE])
def test_a_study_that_just_began_waits(run: Run, tmp_path: Path, page: str) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:1], seeds=1, draws=1)
    for path in (tmp_path / "rows").iterdir():
        path.unlink()
    (tmp_path / "progress").mkdir()
    text = json.dumps({"study": "mae", "done": 3, "total": 8, "updated": time.time()})
    (tmp_path / "progress" / "s.json").write_text(text)
    app = run(page, tmp_path)
    assert title(app) == "No results yet"
    assert "none of its 6 rows is finished yet" in bare(app.markdown[0].value)
    assert "3 of 8 pretrainings" in bare(app.get("progress")[0].proto.text)


@pytest.mark.parametrize("page", [*PAGES, *MORE])
def test_a_damaged_split_table_is_named_without_a_traceback(run: Run, tmp_path: Path, page: str) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:2], seeds=1, draws=1)
    next((tmp_path / "splits").glob("*.parquet")).write_bytes(b"PAR1 not really PAR1")
    app = run(page, tmp_path)
    assert title(app) == "These results cannot be shown"
    assert "cannot be read" in bare(app.error[0].value)


@pytest.mark.parametrize("page", [*PAGES, *MORE])
def test_a_damaged_fragment_is_not_read_and_the_rest_is_shown(run: Run, tmp_path: Path, page: str) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:2], seeds=1, draws=1)
    (tmp_path / "rows" / "foreign.parquet").write_bytes(b"PAR1 not really PAR1")
    app = run(page, tmp_path)
    assert title(app) != "These results cannot be shown"
    assert not app.exception


@pytest.mark.parametrize("page", PAGES)
def test_half_a_study_is_shown_as_half(run: Run, tmp_path: Path, page: str) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:4], seeds=2, draws=2, missing=5)
    (tmp_path / "rows" / "truncated.parquet").write_bytes(b"PAR1\x00")
    app = run(page, tmp_path)
    assert "rows so far" in bare(app.caption[0].value)
    assert "it may still change" in bare(app.markdown[0].value)


@pytest.mark.parametrize("page", [*PAGES, *MORE])
@pytest.mark.parametrize("entrants", [ENTRANTS[-1:], ENTRANTS[:1], ENTRANTS[3:4]], ids=["failed", "reference", "alone"])
def test_lonely_studies_have_pages(run: Run, tmp_path: Path, page: str, entrants: tuple[Truth, ...]) -> None:
    write_study(tmp_path, entrants=entrants, seeds=1, draws=1)
    assert title(run(page, tmp_path))


@pytest.mark.parametrize("page", PAGES)
def test_names_are_text_and_never_markup(run: Run, tmp_path: Path, page: str) -> None:
    name = "<img src=x onerror=alert(1)> **b** $x$ :red[y] [link](http://x)"
    evil = Truth(name, "linear", -0.1, 0.25)
    write_study(tmp_path, entrants=[*ENTRANTS[:2], evil], seeds=2, draws=2, name="a*b")
    app = run(page, tmp_path)
    heading = app.title[0].value
    assert title(app).startswith(name)
    assert re.findall(r"(?<!\\)[<*$\[\]:_`]", heading) == []
    assert not any(element.allow_html for element in [*app.markdown, *app.title] if hasattr(element, "allow_html"))
    for figure in figures(app):
        assert "<img" not in json.dumps(figure["data"]) + json.dumps(figure["layout"]["annotations"])


def test_several_studies_are_a_choice_in_the_link(run: Run, tmp_path: Path) -> None:
    write_study(tmp_path, name="first", entrants=ENTRANTS[:4], seeds=2, draws=2, n_test=100)
    later = START + timedelta(hours=1)
    write_study(tmp_path, name="second", entrants=ENTRANTS[:3], seeds=2, draws=2, n_test=120, created=later)
    app = run("views/leaderboard.py", tmp_path)
    assert bare(app.caption[0].value).startswith("second · ")
    assert app.selectbox(key="study").options == ["second", "first"]
    app = run("views/leaderboard.py", tmp_path, study="first")
    assert bare(app.caption[0].value).startswith("first · ")


def test_studies_of_one_name_are_told_apart(run: Run, tmp_path: Path) -> None:
    keys = [write_study(tmp_path, entrants=ENTRANTS[:2], seeds=1, draws=1, n_test=size) for size in (100, 120)]
    app = run("views/leaderboard.py", tmp_path)
    assert set(app.selectbox(key="study").options) == {f"mae-mask-ratio ({key[:8]})" for key in keys}


def test_a_running_study_shows_its_progress(run: Run, tmp_path: Path) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:4], seeds=2, draws=2)
    (tmp_path / "progress").mkdir()
    text = json.dumps({"study": "mae", "done": 3, "total": 8, "best": "<b>", "updated": time.time()})
    (tmp_path / "progress" / "s.json").write_text(text)
    app = run("views/leaderboard.py", tmp_path)
    (bar,) = app.get("progress")
    assert bare(bar.proto.text) == "mae: 3 of 8 pretrainings · best so far <b>"
    assert "<b>" not in bar.proto.text


def test_no_folder_is_served_past_the_front_door() -> None:
    assert not (DASHBOARDS / "pages").exists()
