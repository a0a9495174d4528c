"""What `bench doctor` says of nodes that it was told about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.engine.doctor import ERROR, OK, WARNING, Finding, NodeFacts, auth_finding, machine_findings, node_findings

VERSIONS = (("python", "3.11.7"), ("ray", "2.60.0"), ("torch", "2.15.0"), ("code", "0a1b2c3d"))
HEAD = NodeFacts("a", "head", True, 0, 0, None, VERSIONS, 0.0, 15, 10**12, "", ("a", "b"), 0.5)
WORKER = replace(HEAD, node="b", host="worker", head=False, cpus=8.0, gpus=1.0, torch_gpus=1)
RESULTS = Path("/shared/results")


def complaints(*nodes: NodeFacts, silent: tuple[tuple[str, str], ...] = ()) -> list[Finding]:
    found = node_findings(nodes, silent, RESULTS)
    wrong = [finding for finding in found if finding.level != OK]
    assert all(finding.remedy for finding in wrong)
    assert not any(finding.remedy for finding in found if finding.level == OK)
    return wrong


def test_a_sound_cluster_has_nothing_to_complain_of() -> None:
    assert complaints(HEAD, WORKER) == []


@pytest.mark.parametrize(
    ("change", "level", "what", "words"),
    [
        ({"seen": ("b",)}, ERROR, "results", "worker does not see what head wrote"),
        ({"results_problem": "read-only", "results_free": None, "seen": ("a",)}, ERROR, "results", "worker: read-only"),
        ({"torch_gpus": 0}, ERROR, "node", "1 GPUs, of which torch sees 0"),
        (
            {"versions": (*VERSIONS[:3], ("code", "ffffffff"))},
            ERROR,
            "versions",
            "code: 0a1b2c3d on head, ffffffff on worker",
        ),
        ({"clock": -7.0}, WARNING, "clock", "worker is 7 s behind this one"),
        ({"results_free": 10**10}, WARNING, "disk", "10 GB free"),
        ({"results_free": 10**9}, ERROR, "disk", "1 GB free"),
        ({"session_full": 0.97}, WARNING, "disk", "97% full"),
    ],
)
def test_each_fault_is_one_complaint(change: dict[str, object], level: str, what: str, words: str) -> None:
    (found,) = complaints(replace(HEAD, seen=("a", "b")), replace(WORKER, **change))
    assert (found.level, found.what) == (level, what)
    assert words in found.found


def test_a_node_that_does_not_answer_is_an_error() -> None:
    (found,) = complaints(replace(HEAD, seen=("a",)), silent=(("worker", "no answer in time"),))
    assert (found.level, found.found) == (ERROR, "worker cannot be asked: no answer in time")


@pytest.mark.parametrize(
    ("status", "dashboard", "level"),
    [
        (401, "127.0.0.1:8265", OK),
        (200, "127.0.0.1:8265", ERROR),
        (403, "10.0.0.1:8265", WARNING),
        (None, None, OK),
        (None, "127.0.0.1:8265", OK),
    ],
)
def test_authentication(status: int | None, dashboard: str | None, level: str) -> None:
    assert auth_finding(status, dashboard).level == level


def test_this_machine(tmp_path: Path) -> None:
    found = {finding.what: finding for finding in machine_findings(tmp_path / "results")}
    assert set(found) == {"python", "packages", "torch", "results", "shared memory", "open files", "token"}
    assert found["packages"].level == OK
    assert str(tmp_path) in found["results"].found


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = {finding.what: finding for finding in machine_findings(tmp_path / "file")}
    assert found["results"].level == ERROR
    assert "cannot be written" in found["results"].found


def test_a_token_that_is_named_but_missing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    found = {finding.what: finding for finding in machine_findings(tmp_path)}
    assert found["token"].level == ERROR
