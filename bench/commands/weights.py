"""`bench weights`: a winner as a folder to take home; or the mask or the weights of a pretraining as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.arguments import RESULTS, Results
from bench.errors import UserError

BEST = "best"
_FILE, _FOLDER = Path("weights.safetensors"), Path("winner")


def weights(
    key: Annotated[
        str | None,
        typer.Argument(metavar="[best|KEY]", help="the best entrant; or a pretraining, by the rows' pretrain_key"),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="PATH", help="folder of the winner; or *.safetensors: that file alone"),
    ] = None,
    results: Results = RESULTS,
    study: Annotated[
        str | None, typer.Option("--study", metavar="NAME", help="name or key; default: the newest")
    ] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="that places entrants; default: the study's")] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="label budget that places entrants and fits the head")
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="write model.onnx too, checked by onnxruntime")] = False,
    licence: Annotated[
        str | None, typer.Option("--data-licence", metavar="TEXT", help="of the data, for the model card")
    ] = None,
    push: Annotated[
        str | None, typer.Option("--push", metavar="OWNER/NAME", help="upload to the Hugging Face hub, private")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option("--apply", metavar="MASK", help="put this mask file on a backbone")
    ] = None,
    backbone: Annotated[
        Path | None, typer.Option("--backbone", metavar="PATH", help="safetensors file, or folder of an encoder")
    ] = None,
) -> None:
    """Take the winner home: encoder, head and model card as a folder. Or a mask or weights as a file."""
    as_file = key != BEST and (to is None or to.suffix == _FILE.suffix)
    if key is None or mask is not None or backbone is not None or as_file:
        from bench.console import weights_line

        _check_file_alone(study=study, metric=metric, budget=budget, onnx=onnx, data_licence=licence, push=push)
        typer.echo(weights_line(results, key, to or _FILE, mask, backbone))
        return
    for line in _winner(results, key, to or _FOLDER, study, metric, budget, onnx, licence, push):
        typer.echo(line)


def _winner(
    results: Path,
    key: str,
    to: Path,
    study: str | None,
    metric: str | None,
    budget: str | None,
    onnx: bool,
    licence: str | None,
    repository: str | None,
) -> list[str]:
    """Writes the folder of a winner; returns what to say of it."""
    from bench.engine.weights import encoder_folder
    from bench.engine.winner.card import NOT_STATED
    from bench.engine.winner.choice import pick
    from bench.engine.winner.program import check_onnx
    from bench.engine.winner.push import check_repository, push
    from bench.engine.winner.take import NotReproducedError, check_folder, take_home
    from bench.results.winner import contenders

    if key != BEST:
        encoder_folder(results, key)
    if onnx:
        check_onnx()
    if repository is not None:
        check_repository(repository)
    check_folder(to)
    wanted = None if key == BEST else key
    contender, passed = pick(contenders(results, study=study, metric=metric, budget=budget, key=wanted), key)
    try:
        lines = take_home(results, contender, to, onnx=onnx, licence=licence or NOT_STATED)
    except NotReproducedError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    lines = [*(f"passed over: {reason}" for reason in passed), *lines]
    return lines if repository is None else [*lines, f"uploaded to {push(to, repository)}"]


def _check_file_alone(**options: str | bool | None) -> None:
    """Raises UserError where an option was given that only a winner's folder reads."""
    for name, value in options.items():
        if value:
            raise UserError(
                f"--{name.replace('_', '-')}: is read where a winner is taken home; valid: with `best`, or KEY and "
                "--to a folder"
            )
