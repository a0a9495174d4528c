"""The command line: `bench run` and its kin. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.errors import UserError

app = typer.Typer(
    name="bench",
    help="PretextBench: how many labels does your pretraining save?",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StudyArgument = Annotated[
    str | None, typer.Argument(metavar="[STUDY]", help="study file, or the name of one that comes with bench")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override any leaf, e.g. mae.mask_ratio=0.6")
]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="results folder")]
StudyName = Annotated[str | None, typer.Option("--study", metavar="NAME", help="name or key; default: the newest")]
Metric = Annotated[str | None, typer.Option("--metric", help="default: balanced_accuracy")]

RESULTS = Path("results")


@app.command()
def run(
    study: StudyArgument = None,
    overrides: Overrides = None,
    results: Results = RESULTS,
    address: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Ray cluster to join")] = None,
) -> None:
    """Run a study (default: the quick start) and print its leaderboard. Running again resumes."""
    from rich.console import Console

    from bench.console import run_and_show

    raise typer.Exit(run_and_show(study, overrides or [], results, Console(), address))


@app.command()
def plan(study: StudyArgument = None, overrides: Overrides = None, results: Results = RESULTS) -> None:
    """Show what a study would compute and what the store already holds. Starts nothing."""
    from rich.console import Console

    from bench.console import show_plan

    show_plan(study, overrides or [], results, Console())


@app.command()
def leaderboard(results: Results = RESULTS, study: StudyName = None, metric: Metric = None) -> None:
    """Print the leaderboard of a study's results."""
    from rich.console import Console

    from bench.console import show_leaderboard

    show_leaderboard(results, study, metric, Console())


@app.command()
def export(
    results: Results = RESULTS,
    form: Annotated[str, typer.Option("--format", help="parquet or csv")] = "parquet",
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="default: RESULTS/export")] = None,
    study: StudyName = None,
) -> None:
    """Write rows and leaderboard as files that others can read."""
    from bench.results.export import export as write_export

    for path in write_export(results, to or results / "export", form, study=study):
        typer.echo(path)


@app.command()
def dashboard(
    results: Results = RESULTS, port: Annotated[int, typer.Option(help="port on this machine")] = 8501
) -> None:
    """Open the leaderboard in the browser (Streamlit, on this machine only)."""
    from bench.console import dashboard_command

    command = dashboard_command(results, port)
    os.execv(command[0], command)


@app.command()
def gc(
    results: Results = RESULTS,
    keep: Annotated[str, typer.Option(help="size the artifacts may keep, e.g. 20GB")] = "20GB",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would go, remove nothing")] = False,
) -> None:
    """Drop artifacts that can be computed again, least recently used first; merge fragments. Rows stay."""
    from bench.console import collect_garbage

    for line in collect_garbage(results, keep, dry_run):
        typer.echo(line)


@app.command()
def methods() -> None:
    """List the methods with their options, ranges and papers."""
    from rich.console import Console

    from bench.console import show_options
    from bench.study.methods import METHODS

    show_options(METHODS, Console())


@app.command()
def protocols() -> None:
    """List the protocols with their options and ranges."""
    from rich.console import Console

    from bench.console import show_options
    from bench.study.protocols import PROTOCOLS

    show_options(PROTOCOLS, Console())


def main(arguments: list[str] | None = None) -> None:
    """Entry point: a user's mistake is one or two lines and exit status 2; Ctrl-C says how to go on."""
    try:
        app(arguments)
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("\nstopped; what was finished is in the store: the same command goes on from there", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
