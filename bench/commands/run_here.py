"""`bench run` on this machine or the Ray cluster it is on: the study, until it is done or stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.console import run_and_show
from bench.engine.stopping import stoppable
from bench.store.mirror import place_of


def run_here(
    study: str | None, overrides: Sequence[str], results: Path, address: str | None, loggers: Sequence[str]
) -> int:
    """Runs a study and shows its leaderboard; returns the exit status.

    Raises:
        SystemExit: SIGTERM or Ctrl-C, once a line has said how to go on.
    """
    with stoppable(place_of(results)):
        return run_and_show(study, overrides, results, Console(), address, loggers)
