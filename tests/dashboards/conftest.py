from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboards import looks
from dashboards.loading import ENVIRONMENT
from tests.results.synthetic import write_study

DASHBOARDS = Path(__file__).parents[2] / "dashboards"
PAGES = ("views/leaderboard.py", "views/curves.py")
MORE = ("views/sweep.py", "views/runs.py", "views/claims.py", "views/returns.py", "views/export.py")

Run = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are looked at each time, however slow the machine is just now."""
    looks._LOOKS.clear()
    monkeypatch.setattr(looks, "_LONG_SECONDS", 3600.0)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_study(folder, seeds=3, draws=3)
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a file of the dashboard on a results root, with query parameters as a reader's link would have them."""

    def go(file: str, results: Path, **query: str) -> AppTest:
        st.cache_resource.clear()
        monkeypatch.setenv(ENVIRONMENT, str(results))
        monkeypatch.setattr("sys.argv", ["streamlit"])
        app = AppTest.from_file(DASHBOARDS / file, default_timeout=60)
        for key, value in query.items():
            app.query_params[key] = value
        return app.run()

    return go
