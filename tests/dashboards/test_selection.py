from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.dashboards.conftest import Run
from tests.dashboards.test_pages import bare, figures, title
from tests.results.synthetic import ENTRANTS, write_study


def drawn(app: AppTest) -> list[str]:
    """The entrants of the intervals, best first."""
    (figure,) = figures(app)
    notes = [note["text"] for note in figure["layout"]["annotations"] if note["xanchor"] == "left"]
    return [text.partition("<b>")[2].partition("</b>")[0] for text in notes]


def select(app: AppTest, *rows: int) -> AppTest:
    """Selects lines of the table as a click does."""
    app.session_state[app.dataframe[0].key] = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
    return app.run()


def test_selected_lines_alone_are_drawn_and_go_into_the_link(run: Run, root: Path) -> None:
    app = run("views/leaderboard.py", root)
    names = app.dataframe[0].value["Entrant"].to_list()
    app = select(app, 0, 2)
    assert title(app)
    assert drawn(app) == [names[0], names[2]]
    assert app.query_params["compare"] == [names[0], names[2]]
    assert len(app.dataframe[0].value) == len(ENTRANTS)
    app = select(app)
    assert len(drawn(app)) == len(ENTRANTS) - 1
    assert "compare" not in app.query_params


def test_a_link_brings_its_selection_and_a_stale_name_is_left_out(run: Run, root: Path) -> None:
    names = ["simclr + linear", "pixels + linear", "<b>gone</b>"]
    app = run("views/leaderboard.py", root, compare=names)
    assert title(app).startswith("simclr + linear needs ")
    assert drawn(app) == ["simclr + linear", "pixels + linear"]
    assert len(app.query_params["compare"]) == 2


def test_a_selection_follows_its_entrants_when_the_order_changes(run: Run, root: Path) -> None:
    app = run("views/leaderboard.py", root, compare=["dino + linear", "pixels + linear"])
    for protocol in ("finetune", None):
        app.pills(key="protocol").set_value([protocol] if protocol else []).run()
        assert not app.exception
        assert set(app.query_params["compare"]) == {"dino + linear", "pixels + linear"}
    assert set(drawn(app)) == {"dino + linear", "pixels + linear"}


def test_a_failed_entrant_alone_has_nothing_to_draw(run: Run, root: Path) -> None:
    app = run("app.py", root, compare="swav + linear")
    assert title(app)
    assert figures(app) == []
    assert "None of these entrants has a score here." in [caption.value for caption in app.caption]


def test_one_selected_line_leads_to_its_pretrainings(run: Run, root: Path) -> None:
    name = "mae[mask_ratio=0.75] + linear"
    (link,) = run("app.py", root, compare=name).get("link_button")
    assert bare(link.proto.label) == f"Pretrainings of {name}"
    assert link.proto.url == "runs?method=mae&setting=mask_ratio%3D0.75"
    assert not run("app.py", root, compare=[name, "dino + linear"]).get("link_button")
    assert not run("app.py", root, compare="pixels + linear").get("link_button")


def test_a_link_chooses_the_pretrainings_of_a_setting(run: Run, root: Path) -> None:
    table = run("views/runs.py", root, method="mae", setting="mask_ratio=0.75").dataframe[0].value
    assert set(table["Setting"]) == {"mask_ratio=0.75"}
    assert len(table) == 3
    app = run("views/runs.py", root, method="simclr", setting="mask_ratio=0.75")
    assert app.info[0].value == "No pretraining matches the filters."


@pytest.mark.parametrize("count", [1, 2])
def test_a_study_of_few_lines_can_be_selected_from(run: Run, tmp_path: Path, count: int) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:count], seeds=1, draws=1)
    app = select(run("views/leaderboard.py", tmp_path), 0)
    assert title(app)
    assert len(drawn(app)) == 1
