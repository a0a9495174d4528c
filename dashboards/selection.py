"""The lines of the leaderboard that a reader selected: kept in the link, and followed to their pretrainings."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import polars as pl
import streamlit as st

from bench.results.entrants import LABEL_ONLY
from dashboards.frame import plain

_PARAMETER = "compare"


def wanted(frame: pl.DataFrame) -> list[str]:
    """The entrants of the board that the link selects."""
    names = set(st.query_params.get_all(_PARAMETER))
    return [name for name in frame["entrant"] if name in names]


def remember(names: Sequence[str]) -> None:
    """Writes the selection into the link."""
    if not names:
        st.query_params.pop(_PARAMETER, None)
    elif sorted(names) != sorted(st.query_params.get_all(_PARAMETER)):
        st.query_params[_PARAMETER] = list(names)


def table_key(names: Sequence[str]) -> str:
    """A key of its own for every order of lines: a selection is of places, and must not pass to other entrants."""
    return f"table-{zlib.crc32(chr(10).join(names).encode()):08x}"


def runs_link(row: Mapping[str, Any]) -> None:
    """A link to the pretrainings behind a line of the leaderboard; nothing where nothing was pretrained."""
    if row["method"] in LABEL_ONLY:
        return
    query = {"method": row["method"]}
    if row["axes"]:
        query["setting"] = row["axes"]
    if study := st.query_params.get("study"):
        query["study"] = study
    label = plain(f"Pretrainings of {row['entrant']}")
    # No page link: that would carry this page's filters over, which go by the same names.
    st.link_button(label, f"runs?{urlencode(query)}", icon=":material/arrow_forward:", type="tertiary")
