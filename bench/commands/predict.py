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
    support: Annotated[
        Path | None,
        typer.Option("--support", metavar="DIR", help="of a few-shot winner: DIR/CLASS/NAME.png, masks NAME_mask.png"),
    ] = None,
) -> None:
    """Write every image's label and calibrated probabilities to Parquet; of a segmentation winner, masks beside it.

    Of a few-shot winner: which of the classes in --support each image shows, and masks.

    Unreadable files are listed and skipped.
    """
    from bench.engine.winner.predict import predict as answer

    for line in answer(winner, images, to, support).lines(to):
        typer.echo(line)
