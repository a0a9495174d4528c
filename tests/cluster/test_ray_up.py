"""A real `ray up` over ssh: three hosts, a study over all of them, one host lost in the middle, all rows there."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from bench.store.fragments import Fragments
from tests.cluster.lab import ROOT, Lab, lab, missing
from tests.engine.conftest import TINY, TINY_ROWS

REASON = missing()
pytestmark = [pytest.mark.cluster, pytest.mark.skipif(REASON is not None, reason=str(REASON))]

HOSTS = ("head", "first", "second")
EXAMPLE = ROOT / "docs" / "cluster" / "on_premises.yaml"


def filled_in(folder: Path) -> dict[str, Any]:
    """The example for machines of one's own, its marked lines filled in; one small core a host."""
    config = yaml.safe_load(EXAMPLE.read_text())
    config["provider"] |= {"head_ip": "10.77.0.10", "worker_ips": ["10.77.0.11", "10.77.0.12"]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(folder / "key")}
    config["initialization_commands"] = [
        command.replace("/mnt/shared/bench", str(folder / "shared")) for command in config["initialization_commands"]
    ]
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        config[key][-1] += " --num-cpus=1 --object-store-memory=100000000"
    return config


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, str]]:
    """Hosts, and the file whose cluster is up on them."""
    folder = tmp_path_factory.mktemp("lab")
    file = folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(filled_in(folder)))
    with lab(folder, HOSTS) as laptop:
        up = laptop.run("ray", "up", "-y", str(file), timeout=300)
        assert up.returncode == 0, up.stdout[-3000:]
        until(lambda: alive(laptop, file) == len(HOSTS), 240, "the workers did not join")
        assert running(laptop, "first")
        yield laptop, str(file)
        down = laptop.run("ray", "down", "-y", str(file))
        assert down.returncode == 0, down.stdout[-3000:]
        assert not running(laptop, "head")
        until(lambda: not running(laptop, "first"), 60, "a worker's Ray outlived its head")


def alive(laptop: Lab, file: Path) -> int:
    code = "import ray; ray.init(logging_level=40); print('alive', sum(node['Alive'] for node in ray.nodes()))"
    said = laptop.run("ray", "exec", str(file), f'python -c "{code}"').stdout
    return max((int(line.split()[1]) for line in said.splitlines() if line.startswith("alive ")), default=0)


def running(laptop: Lab, host: str) -> bool:
    return any("raylet/raylet" in line or "gcs_server" in line for line in laptop.processes(host))


def until(holds: Any, seconds: float, complaint: str) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, complaint
        time.sleep(0.5)


def rows(results: Path) -> pl.DataFrame:
    return Fragments(results, "rows").scan().collect()


@pytest.mark.timeout(600)
def test_the_doctor_asks_every_host(cluster: tuple[Lab, str]) -> None:
    laptop, file = cluster
    said = laptop.run("ray", "exec", file, "bench doctor --results ~/results").stdout
    assert all(f"node: {host}" in said for host in HOSTS), said
    assert f"{laptop.folder / 'shared'}: written and seen by 3 nodes" in said
    assert "versions: the same on all" in said
    assert "authentication: by token" in said
    assert "error " not in said


@pytest.mark.timeout(600)
def test_a_study_outlives_the_laptop_and_a_host(cluster: tuple[Lab, str], tmp_path: Path) -> None:
    laptop, file = cluster
    shared, pulled = laptop.folder / "shared", tmp_path / "results"
    study = tmp_path / "tiny.yaml"
    study.write_text(yaml.safe_dump(TINY))
    command = ("python", "-m", "bench.run", str(study), "--cluster", file, "--results", str(pulled))

    looking = laptop.start(*command)
    until(lambda: (shared / "rows").is_dir() and rows(shared).height > 0, 180, "no row was written")
    until(lambda: any("ray::run_units" in line for line in laptop.processes("second")), 120, "no work for the second")
    laptop.kill("second")
    os.killpg(looking.pid, signal.SIGINT)  # the laptop is closed
    said, _ = looking.communicate(timeout=60)
    assert "3 nodes, 3 CPUs" in said
    assert "goes on without this terminal" in said
    before = rows(shared)
    assert before.height < TINY_ROWS  # so the host was lost in the middle

    again = laptop.run(*command, "--attach", timeout=400)
    assert again.returncode == 0, again.stdout[-3000:]
    assert "simclr + linear" in again.stdout  # the leaderboard
    found = rows(pulled)
    assert found.height == TINY_ROWS == found["row_key"].n_unique()
    assert set(found["status"]) == {"ok"}
    assert {"head", "first"} <= set(found["host"])
    assert not (pulled / "artifacts").exists()


NOTICE = """
import datetime, json, threading
from bench.engine.spot_watch import main
from tests.engine.test_spot_watch import Metadata

server = Metadata()
goes = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=120)
server.notice = json.dumps({"action": "terminate", "time": goes.isoformat()})
threading.Thread(target=server.serve_forever, daemon=True).start()
main(["aws", "--url", server.url])
"""


@pytest.mark.timeout(600)
def test_a_spot_notice_drains_the_node_it_is_for(cluster: tuple[Lab, str]) -> None:
    laptop, _ = cluster
    script = laptop.folder / "notice.py"
    script.write_text(NOTICE)
    there = f"bash --login -i -c 'source ~/.bashrc; PYTHONPATH={ROOT} python {script}; echo left with $?'"
    options = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
    done = laptop.run("ssh", "-i", str(laptop.folder / "key"), *options, "root@10.77.0.11", there)
    assert "this machine goes in 1" in done.stdout, done.stdout
    assert "left with 0" in done.stdout, done.stdout  # Ray took the request
