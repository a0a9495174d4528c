"""The dashboard's front door: `streamlit run dashboards/app.py -- --results DIR`."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboards.frame import look
from dashboards.loading import has_noise, results_root

_HERE = Path(__file__).parent
# Not called "pages": Streamlit would serve a folder of that name by itself, past this file, to whoever follows a link.
_VIEWS = _HERE / "views"


def main() -> None:
    """Names the pages and runs the one asked for."""
    st.set_page_config(page_title="PretextBench", page_icon=":material/labs:", layout="wide")
    st.logo(_HERE / "wordmark.svg", size="medium")
    look()
    pages = [
        st.Page(_VIEWS / "leaderboard.py", title="Leaderboard", default=True),
        st.Page(_VIEWS / "curves.py", title="Label efficiency", url_path="curves"),
        st.Page(_VIEWS / "sweep.py", title="Sweep", url_path="sweep"),
        st.Page(_VIEWS / "runs.py", title="Runs", url_path="runs"),
        st.Page(_VIEWS / "claims.py", title="Claims", url_path="claims"),
        st.Page(_VIEWS / "returns.py", title="Return on labels", url_path="returns"),
        st.Page(_VIEWS / "export.py", title="Export", url_path="export"),
    ]
    if has_noise(results_root()):
        pages.insert(3, st.Page(_VIEWS / "noise.py", title="Label noise", url_path="noise"))
    st.navigation(pages, position="top").run()


main()
