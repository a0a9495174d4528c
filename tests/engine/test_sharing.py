"""The preflight of results on several nodes, the nodes played by folders: what Ray carries is replaced by a call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.engine import sharing
from bench.errors import UserError
from bench.store import marks


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Path]], None]:
    """Plays nodes by name, each with the folder that it finds where the driver says the results lie."""

    def play(folders: dict[str, Path]) -> None:
        def ask(hosts: dict[str, str], question: Callable[[str], tuple[Any, ...]]) -> dict[str, Any]:
            answers = {}
            for key in hosts:
                function, _, *arguments = question(key)
                answers[key] = function(str(folders[hosts[key]]), *arguments)
            return answers

        alive = [{"NodeID": f"id-{name}", "NodeManagerHostname": name, "Alive": True} for name in folders]
        monkeypatch.setattr(sharing.ray, "nodes", lambda: alive)
        monkeypatch.setattr(sharing, "_ask", ask)
        monkeypatch.setattr(marks, "_SEEN_SECONDS", 0.0)

    return play


def test_one_folder_for_all_passes_and_stays_clean(nodes: Callable[..., None], tmp_path: Path) -> None:
    nodes({"head": tmp_path, "worker": tmp_path})
    sharing.check_shared(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_folders_of_their_own_are_refused_in_one_line(nodes: Callable[..., None], tmp_path: Path) -> None:
    own = {"head": tmp_path / "a", "worker": tmp_path / "b"}
    nodes(own)
    with pytest.raises(UserError, match=r"not the same on all 2 nodes \(head: does not see what worker wrote; worker:"):
        sharing.check_shared(own["head"])
    assert [list(folder.iterdir()) for folder in own.values()] == [[], []]


def test_a_folder_that_a_node_cannot_write_is_refused(nodes: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nodes({"head": tmp_path, "worker": tmp_path / "file" / "below"})
    with pytest.raises(UserError, match=r"worker: --results .*cannot be written"):
        sharing.check_shared(tmp_path)


def test_one_node_is_not_asked(nodes: Callable[..., None], tmp_path: Path) -> None:
    nodes({"head": tmp_path / "absent"})
    sharing.check_shared(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
