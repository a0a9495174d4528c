from __future__ import annotations

from pathlib import Path

import pytest

from bench.results.leaderboard import Board, make_board
from bench.results.opening import Opened, open_results
from tests.results.synthetic import write_study


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study: five entrants that work, one that diverged once, one that collapsed, two references."""
    folder = tmp_path_factory.mktemp("results")
    write_study(folder)
    return folder


@pytest.fixture(scope="session")
def opened(root: Path) -> Opened:
    return open_results(root)


@pytest.fixture(scope="session")
def board(opened: Opened) -> Board:
    return make_board(opened)
