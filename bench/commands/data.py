"""`bench data`: what data sets there are, what is wrong with one, and which images to label next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.store.mirror import open_place

data_app = typer.Typer(
    name="data",
    help="List the data sets, audit one, choose which images to label.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="class folders, or a data set of the catalog")]
Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="how to read DIR: a name of `bench data list`")
]
Results = Annotated[
    Path | None,
    typer.Option("--results", metavar="PLACE", parser=open_place, help="results whose best encoder embeds the images"),
]
EncoderKey = Annotated[
    str | None, typer.Option("--encoder", metavar="KEY", help="that pretraining, by the rows' column pretrain_key")
]


@data_app.command("list")
def list_data() -> None:
    """List the data sets: what they are, how large, under which licence, how to get them."""
    from rich.console import Console

    from bench.data.cards import show_cards

    show_cards(Console())


@data_app.command()
def audit(
    folder: Folder,
    name: Name = None,
    results: Results = None,
    encoder: EncoderKey = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="write a report with pictures")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="write every finding with all its files")
    ] = None,
    fail_on: Annotated[str, typer.Option("--fail-on", help="exit status 1 from which severity: error or warning")] = (
        "error"
    ),
) -> None:
    """Look for corrupt files, duplicates, conflicting and suspicious labels, leaks and sequences.

    Exit status 0 when nothing as severe as --fail-on was found, 1 when something was, 2 when DIR cannot be audited.
    """
    from rich.console import Console

    from bench.engine.data_audit import run_audit

    raise typer.Exit(run_audit(folder, name, results, encoder, html, json_file, fail_on, Console()))


@data_app.command()
def label(
    folder: Folder,
    budget: Annotated[int, typer.Option("--budget", min=1, help="images to label")] = 50,
    name: Name = None,
    results: Results = None,
    encoder: EncoderKey = None,
    strategy: Annotated[str, typer.Option("--strategy", help="coverage or random")] = "coverage",
    labelled: Annotated[
        Path | None, typer.Option("--labelled", metavar="FILE", help="CSV (path,label) of the labels so far")
    ] = None,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="CSV to write and fill in")] = Path("to_label.csv"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="names the choice")] = 0,
) -> None:
    """Choose which images to label next, so that every image has a labelled one close by, and write them as a CSV.

    Images count as labelled when they lie in a class folder or, with --labelled, when that file gives them a label.
    """
    from rich.console import Console

    from bench.engine.data_label import run_label

    run_label(folder, name, budget, results, encoder, strategy, labelled, to, seed, Console())
