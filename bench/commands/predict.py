"""`bench predict`: labels and calibrated probabilities of a folder of images, or the class of each of their pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def predict(
    winner: Annotated[Path, typer.Argument(metavar="WINNER", help="folder made by: weights best --to DIR")],
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="folder of images, searched recursively")],
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="Parquet file to write")] = Path(
        "predictions.parquet"
    ),
) -> None:
    """Write every image's label and calibrated probabilities to Parquet; of a segmentation winner, masks beside it.

    Unreadable files are listed and skipped.
    """
    from bench.engine.winner.predict import predict as answer

    for line in answer(winner, images, to).lines(to):
        typer.echo(line)
