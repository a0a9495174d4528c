"""`bench pool`: studies that hold out one part of the data each, as one."""

from __future__ import annotations

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
) -> None:
    """Pool the studies that differ in data.test_tiles alone: every tile held out once, the tile as the unit."""
    from bench.errors import unknown
    from bench.results.pool import pool as pooled
    from bench.results.pool_text import FORMS

    if form not in FORMS:
        raise unknown("format", form, FORMS, "--format")
    typer.echo(FORMS[form](pooled(results, study, metric=metric, reference=reference)))
