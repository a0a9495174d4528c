"""`bench run --cluster URL` and `bench doctor` against a head that was started by hand, as on any cluster."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from bench.engine.remote import study_job
from bench.errors import UserError
from bench.store.fragments import Fragments
from tests.engine.conftest import ROOT

STUDY = {
    "study": "small.study",
    "data": {"name": "digits", "max_train": 200, "max_test": 50},
    "methods": {"pixels": {}},
    "evaluate": [{"protocol": "knn", "label_budgets": [1, 2], "draws": 2}],
}


def test_the_same_command_is_the_same_job_whatever_the_terminal() -> None:
    here, there = (study_job("a study", "study: a", ["mae.lr=1e-3"], columns) for columns in (80, 200))
    assert here.prefix == there.prefix
    assert here.prefix.startswith("bench-a_study-")
    assert study_job("a study", "study: a", [], 80).prefix != here.prefix
    assert study_job("a study", "study: b", ["mae.lr=1e-3"], 80).prefix != here.prefix
    elsewhere = study_job("a study", "study: a", ["mae.lr=1e-3"], 80, "s3://bucket/bench")
    assert elsewhere.prefix != here.prefix
    assert elsewhere.entrypoint == f"{here.entrypoint} --results s3://bucket/bench"


def test_a_study_of_any_text_arrives_as_it_was(tmp_path: Path) -> None:
    text = 'study: it\'s "quoted" $HOME `date` \\n\n# ü\n'
    job = study_job("quoted", text, [], 80)
    made = job.entrypoint.rpartition(" && ")[0]
    subprocess.run(["sh", "-c", made], env={**os.environ, "HOME": str(tmp_path)}, check=True)
    (file,) = (tmp_path / "studies").iterdir()
    assert file.read_text() == text
    assert f"studies/{file.name}" in job.entrypoint.rpartition(" && ")[2]


@dataclass(frozen=True)
class Head:
    home: Path
    port: int
    dashboard: int
    environment: dict[str, str]

    def bench(self, *arguments: object, **changes: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bench.cli", *map(str, arguments)]
        environment = self.environment | changes
        return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, env=environment)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head of its own: ports, folder, home and token are nobody else's, and it ends with its process group."""
    with tempfile.TemporaryDirectory(prefix="head", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        (home / ".ray").mkdir(parents=True)
        (home / ".ray" / "auth_token").write_text(secrets.token_hex(32))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment = kept | {
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "RAY_TMPDIR": folder,
            "RAY_AUTH_MODE": "token",
            "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
        }
        found = Head(home, free_port(), free_port(), environment)
        process = subprocess.Popen(_start(found), env=environment, stdout=subprocess.PIPE, start_new_session=True)
        try:
            _until_it_listens(found.dashboard)
            yield found
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _start(head: Head) -> list[str]:
    ports = {
        "port": head.port,
        "dashboard-port": head.dashboard,
        "dashboard-agent-listen-port": free_port(),
        "ray-client-server-port": free_port(),
    }
    sizes = ["--num-cpus=1", "--object-store-memory=100000000", "--dashboard-host=127.0.0.1"]
    named = [f"--{name}={port}" for name, port in ports.items()]
    return ["ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1", *named, *sizes]


def _until_it_listens(port: int) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the head did not come up")


@pytest.mark.ray
def test_a_study_runs_on_the_head_and_is_looked_in_on_again(head: Head, tmp_path: Path) -> None:
    study = tmp_path / "mine.yaml"
    study.write_text(yaml.safe_dump(STUDY))
    url = f"http://127.0.0.1:{head.dashboard}"
    done = head.bench("run", study, "--cluster", url)
    assert done.returncode == 0, done.stdout + done.stderr
    first, *_ = done.stdout.splitlines()
    assert first.startswith("submitted bench-small_study-")
    assert "Ray cluster, 1 node, 1 CPUs" in done.stdout
    assert "pixels + knn" in done.stdout
    assert "base64" not in done.stdout
    rows = Fragments(head.home / "results", "rows").scan().collect()
    assert rows.height == 4

    again = head.bench("run", "--cluster", url, "--attach")
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.splitlines()[0].split(";")[0] == f"attached to {first.split()[1]}".rstrip(";")
    assert "pixels + knn" in again.stdout


@pytest.mark.ray
def test_mistakes_are_one_line(head: Head, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{head.dashboard}"
    stranger = head.bench("run", "--cluster", url, RAY_AUTH_TOKEN="b" * 64)
    assert stranger.returncode == 2
    assert "the cluster has another token" in stranger.stderr
    closed = head.bench("run", "--cluster", f"http://127.0.0.1:{free_port()}")
    assert closed.returncode == 2
    assert "no job server answers" in closed.stderr


@pytest.mark.ray
def test_the_doctor_looks_at_every_node(head: Head, tmp_path: Path) -> None:
    done = head.bench("doctor", "--address", f"127.0.0.1:{head.port}", "--results", tmp_path / "results")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ray cluster, 1 node" in done.stdout
    assert "authentication: by token" in done.stdout
    assert "versions: the same on all: python" in done.stdout
    assert "written and seen by 1 node" in done.stdout
    assert not list((tmp_path / "results").glob(".doctor*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attach"], "--attach: on which cluster"),
        (["--cluster", "x.yaml", "--address", "a:1"], "give one"),
        (["--cluster", "none.yaml"], "none.yaml: .*No such file"),
        (["--cluster", "pyproject.toml"], "pyproject.toml"),
    ],
)
def test_options_that_do_not_go_together(arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.cli import app

    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=message):
        app(["run", *arguments], standalone_mode=False)
