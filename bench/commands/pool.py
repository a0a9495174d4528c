"""`bench pool`: studies that hold out one part of the data each, as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.arguments import RESULTS, Results


def pool(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="name or key of one of the studies; default: the newest")
    ] = None,
    results: Results = RESULTS,
    metric: Annotated[str, typer.Option("--metric", help="miou, pixel_accuracy or macro_f1")] = "miou",
    reference: Annotated[
        list[str] | None, typer.Option("--reference", metavar="ENTRANT", help="what differences are against")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="table, csv or json")] = "table",
    bundles: Annotated[
        Path | None, typer.Option("--bundles", metavar="DIR", help="pool the bundles in this folder, and no results")
    ] = None,
) -> None:
    """Pool the studies that differ in data.test_tiles alone: every tile held out once, the tile as the unit."""
    from bench.errors import UserError, unknown
    from bench.results.pool import pool as pooled
    from bench.results.pool import pool_bundles
    from bench.results.pool_text import FORMS

    if form not in FORMS:
        raise unknown("format", form, FORMS, "--format")
    if bundles is None:
        found = pooled(results, study, metric=metric, reference=reference)
    elif study:
        raise UserError(f"pool: STUDY {study!r} and --bundles exclude each other")
    else:
        found = pool_bundles(bundles, metric=metric, reference=reference)
    typer.echo(FORMS[form](found))
