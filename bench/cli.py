"""The command line: `bench run` and its kin. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.commands.arguments import RESULTS, Results
from bench.commands.data import data_app
from bench.commands.doctor import doctor
from bench.commands.drift import drift
from bench.commands.pool import pool
from bench.commands.predict import predict
from bench.commands.weights import weights
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
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="PLACE", help="your images: folder, CSV, Parquet, COCO, *.tar, s3://... or hf:NAME"),
]
Minutes = Annotated[
    float | None, typer.Option("--minutes", metavar="N", help="with --data: what the proposed study may take")
]
StudyName = Annotated[str | None, typer.Option("--study", metavar="NAME", help="name or key; default: the newest")]
Metric = Annotated[str | None, typer.Option("--metric", help="default: balanced_accuracy")]

USAGE_ERROR = typer.BadParameter.__mro__[1]  # which module it is in depends on the version of Typer


@app.command()
def run(
    study: StudyArgument = None,
    overrides: Overrides = None,
    results: Results = RESULTS,
    data: Data = None,
    minutes: Minutes = None,
    address: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Ray cluster to join")] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="FILE", help="run on the cluster of this `ray up` file, or http://HOST:PORT")
    ] = None,
    attach: Annotated[bool, typer.Option("--attach", help="with --cluster: look in on the newest job again")] = False,
    log: Annotated[
        list[str] | None,
        typer.Option("--log", metavar="NAME", help="live: tensorboard, mlflow, wandb or aim, under RESULTS/logs"),
    ] = None,
) -> None:
    """Run a study (default: the quick start) and print its leaderboard. Running again resumes."""
    from rich.console import Console

    from bench.commands.own import chosen_study
    from bench.commands.run_here import run_here
    from bench.commands.run_on_cluster import check_options, run_on_cluster
    from bench.store.mirror import place_of

    check_options(cluster, attach, address, log or [])
    study, changes = chosen_study(study, data, minutes, overrides or [], results, Console(), reads=cluster is None)
    if cluster is not None:
        raise typer.Exit(run_on_cluster(cluster, study, changes, place_of(results), attach, Console()))
    raise typer.Exit(run_here(study, changes, results, address, log or []))


@app.command()
def plan(
    study: StudyArgument = None,
    overrides: Overrides = None,
    results: Results = RESULTS,
    data: Data = None,
    minutes: Minutes = None,
) -> None:
    """Show what a study would compute and what the store already holds. Starts nothing."""
    from rich.console import Console

    from bench.commands.own import chosen_study
    from bench.console import show_plan

    study, changes = chosen_study(study, data, minutes, overrides or [], results, Console(), reads=False)
    show_plan(study, changes, results, Console())


@app.command()
def leaderboard(
    results: Results = RESULTS,
    study: StudyName = None,
    metric: Metric = None,
    budget: Annotated[
        str | None, typer.Option(help="label budget of score and labels saved; default: over all")
    ] = None,
    target: Annotated[float | None, typer.Option(help="score at which labels saved is read off, e.g. 0.8")] = None,
    by: Annotated[str | None, typer.Option("--by", help="groups: dataset, method or axis")] = None,
    form: Annotated[str, typer.Option("--format", help="table, csv, json or latex")] = "table",
    everyone: Annotated[bool, typer.Option("--all", help="every entrant, not the best 20 and the references")] = False,
) -> None:
    """Print the leaderboard of a study's results. All formats but the table hold every entrant."""
    from rich.console import Console

    from bench.console import show_leaderboard
    from bench.results.view import View

    view = View(study=study, metric=metric, budget=budget, target=target, by=by, everyone=everyone)
    show_leaderboard(results, view, Console(), form)


@app.command()
def export(
    results: Results = RESULTS,
    form: Annotated[
        str, typer.Option("--format", help="parquet, csv, latex, figures (SVG, PDF, PNG and HTML), optuna or bundle")
    ] = "parquet",
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="default: export, in a results folder")] = None,
    study: StudyName = None,
) -> None:
    """Write a study's results as files that others can read, cite and check."""
    from bench.results.export import export as write_export
    from bench.store.mirror import mirror_of

    beside = Path("export") if mirror_of(results) else results / "export"
    for path in write_export(results, to or beside, form, study=study):
        typer.echo(path)


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="folder made by: export --format bundle")],
) -> None:
    """Recompute every number of a bundle from its rows; exit status 1 and a line for each that differs."""
    from bench.console import verify_lines

    same, lines = verify_lines(bundle)
    for line in lines:
        typer.echo(line)
    raise typer.Exit(0 if same else 1)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="a bundle")],
    after: Annotated[Path, typer.Argument(metavar="B", help="the bundle to compare with it")],
    metric: Annotated[str | None, typer.Option("--metric", help="default: that of A")] = None,
) -> None:
    """Compare two bundles: how each entrant's score changed, beyond chance or not, and what else differs."""
    from rich.console import Console

    from bench.console import show_comparison

    show_comparison(before, after, metric, Console())


@app.command()
def dashboard(
    results: Results = RESULTS, port: Annotated[int, typer.Option(help="port on this machine")] = 8501
) -> None:
    """Open the leaderboard in the browser (Streamlit, on this machine only)."""
    from bench.console import dashboard_command

    command = dashboard_command(results, port)
    os.execv(command[0], command)  # nosec B606 # this interpreter, no shell


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


app.command()(doctor)
app.command()(drift)
app.command()(pool)
app.command()(predict)
app.command()(weights)
app.add_typer(data_app, name="data")


def main(arguments: list[str] | None = None) -> None:
    """Entry point: a user's mistake is one or two lines and exit status 2."""
    try:
        status = app(arguments, standalone_mode=False)
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except USAGE_ERROR as error:
        if sys.argv[1:] if arguments is None else arguments:  # else Typer has shown the help
            typer.echo(f"error: {error.format_message()}", err=True)
        sys.exit(2)
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
