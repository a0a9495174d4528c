"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.store.mirror import open_place

RESULTS = Path("results")
Results = Annotated[
    Path,
    typer.Option(
        "--results", metavar="PLACE", parser=open_place, help="results folder, or an address: s3://bucket/prefix"
    ),
]
