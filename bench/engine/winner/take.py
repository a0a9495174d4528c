"""Taking an entrant home: chosen, fitted once more, checked against its row, calibrated, written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.engine.site import Site
from bench.engine.winner.candidate import Home
from bench.engine.winner.card import describe, write_card
from bench.engine.winner.choice import candidates, choose
from bench.engine.winner.page import PAGE, write_page
from bench.engine.winner.tasks import TASKS
from bench.engine.winner.words import summary
from bench.errors import UserError
from bench.methods.encoder import CARD
from bench.store.contender import Contender
from bench.store.files import read_json
from bench.store.whole import share
from bench.study.spec import DataSpec, Resources


class NotReproducedError(Exception):
    """What was fitted once more does not answer as its row says: nothing is written."""


def take_home(root: Path, contender: Contender, to: Path, *, onnx: bool, licence: str) -> list[str]:
    """Writes the folder of a winner.

    Args:
        root: results folder.
        contender: the entrant, with its rows at one label budget.
        to: the folder: a new or empty one, or one that holds a winner, which is replaced.
        onnx: whether `model.onnx` is written too.
        licence: of the data, as the user states it.

    Returns:
        What was chosen, why, what was checked and what was written: a line each.

    Raises:
        UserError: the folder holds other things, or the data or the encoder cannot be had.
        NotReproducedError: what was fitted once more answers otherwise than the row says.
    """
    check_folder(to)
    resources = Resources.model_validate({**contender.resources, "workers": 0})
    site = Site(root.resolve(), DataSpec.model_validate(contender.data), resources)
    tried = candidates(site, contender)
    chosen, task = choose(tried), TASKS[contender.protocol]
    differing = task.mismatch(chosen.row, chosen.score)
    if differing is not None:
        raise NotReproducedError(
            f"{differing}: nothing was written; code, libraries or threads are others than when it was measured"
        )
    described = describe(contender, chosen, tried, site.dataset(), licence) | {"task": task.name}
    with replacing_folder(to) as folder:
        written = task.write(Home(folder, site.dataset(), site.data, onnx), chosen)
        card = write_card(folder, described | written)
        write_page(folder, card)
    return [*summary(card["winner"]), f"{to}: {', '.join([*card['winner']['files'], CARD, PAGE])}"]


def check_folder(to: Path) -> None:
    """Raises UserError where something other than a winner lies in the folder, or it cannot be one."""
    if to.exists() and not to.is_dir():
        raise UserError(f"--to: {str(to)!r} is a file; valid: a folder")
    known = read_json(to / CARD)
    if to.is_dir() and any(to.iterdir()) and not (isinstance(known, dict) and "winner" in known):
        raise UserError(f"--to: {str(to)!r} holds other files; valid: a new folder, or one that holds a winner")


@contextmanager
def replacing_folder(to: Path) -> Iterator[Path]:
    """An empty folder to fill; its files take their place in `to` when all are there. Files of others there stay."""
    to.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.parent))
    try:
        yield building
        for path in _own_files(to):
            path.unlink(missing_ok=True)
        to.mkdir(exist_ok=True)
        for path in sorted(building.iterdir()):
            share(path, 0o666)
            os.replace(path, to / path.name)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _own_files(folder: Path) -> list[Path]:
    """The files that a winner's folder says are its own; none where there is no winner, or its card does not say."""
    card = read_json(folder / CARD)
    winner = card.get("winner") if isinstance(card, dict) else None
    files = winner.get("files") if isinstance(winner, dict) else None
    if winner is None:
        return []
    named = [folder / Path(str(name)).name for name in [*(files if isinstance(files, dict) else ()), CARD, PAGE]]
    return [path for path in named if path.is_file()]
