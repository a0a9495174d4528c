"""What leaves bench: no markup, formula or command of others' making, and nothing of the environment."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.console import dashboard_command
from bench.data.labelling import write_open
from bench.results.latex import escaped
from bench.results.markdown import plain
from bench.results.tables import neutral

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1")


def test_no_cell_of_a_csv_is_a_formula() -> None:
    found = neutral(pl.DataFrame({"class": FORMULAS}))["class"].to_list()
    assert found == [f"'{text}" for text in FORMULAS]


def test_the_file_to_label_runs_nothing_and_names_the_same_images(tmp_path: Path) -> None:
    write_open(["=HYPERLINK(1).png", "-a.png", "b.png"], tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    assert paths == ["./=HYPERLINK(1).png", "./-a.png", "b.png"]


@given(st.text())
def test_latex_gets_no_command_and_no_paragraph(text: str) -> None:
    found = escaped(text)
    assert "\n" not in found
    bare = found.replace(r"\textbackslash{}", "").replace(r"\{", "").replace(r"\}", "")
    for mark in "&%#_$":
        bare = bare.replace(f"\\{mark}", "")
    assert not any(mark in bare for mark in "&%#_")


@given(st.text())
def test_a_page_gets_no_markup(text: str) -> None:
    found = plain(text)
    assert "\n" not in found
    for mark in ("|", "<", ">", "`", "*", "_", "](", "][", "]:"):
        assert found.count(mark) == found.count(f"\\{mark}")


def test_rows_hold_no_variable_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.engine.rows import environment

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-word")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a-secret-word")
    environment.cache_clear()
    said = environment()
    assert set(said) == {"version", "git_commit", "git_dirty", "packages", "host"}
    assert "a-secret-word" not in json.dumps(said)


def test_the_dashboard_listens_on_this_machine_alone(tmp_path: Path) -> None:
    command = dashboard_command(tmp_path, 8501)
    assert command[command.index("--server.address") + 1] == "127.0.0.1"
    config = Path(__file__).parents[2] / "dashboards" / ".streamlit" / "config.toml"
    assert tomllib.loads(config.read_text())["server"]["address"] == "127.0.0.1"


def test_ray_is_asked_for_a_token() -> None:
    from bench.engine.cluster import _ENVIRONMENT

    assert _ENVIRONMENT["RAY_AUTH_MODE"] == "token"
