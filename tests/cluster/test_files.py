"""The cluster files: accepted by Ray's own validation, and what they promise, without a cloud."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.engine.cluster import _ENVIRONMENT
from tests.cluster.lab import ROOT

PAGES = ROOT / "docs" / "cluster"
LAUNCHED = {path.name: path for path in (ROOT / "cluster.yaml", PAGES / "gcp.yaml", PAGES / "on_premises.yaml")}
CLOUDS = ("cluster.yaml", "gcp.yaml")
COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load(LAUNCHED[name].read_text())


def validated(config: dict[str, Any]) -> dict[str, Any]:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(config)
    validate_config(prepared)
    return prepared


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_accepts_the_file(name: str) -> None:
    prepared = validated(read(name))
    assert prepared["max_workers"] > 0


def test_ray_would_refuse_a_typo() -> None:
    from jsonschema import ValidationError

    with pytest.raises(ValidationError, match="setup_command"):
        validated(read("cluster.yaml") | {"setup_command": []})


@pytest.mark.parametrize("name", LAUNCHED)
def test_the_checkout_is_installed_and_nothing_from_elsewhere(name: str) -> None:
    config = read(name)
    mounted = {remote: local for remote, local in config["file_mounts"].items() if remote.startswith("~/bench/")}
    assert all((ROOT / local).exists() for local in mounted.values())
    assert {"bench", "dashboards", "search_spaces", "pyproject.toml", "requirements.lock"} <= set(mounted.values())
    setup = " ".join(config["setup_commands"])
    assert "--constraint ~/bench/requirements.lock --editable ~/bench" in setup
    assert "ray-3.0.0.dev0" not in setup  # what Ray installs where no command is given


@pytest.mark.parametrize("path", [*LAUNCHED.values(), PAGES / "slurm.sh"], ids=lambda path: path.name)
def test_idle_processes_wait_as_they_do_on_one_machine(path: Path) -> None:
    wait = "RAY_idle_worker_killing_time_threshold_ms"
    assert f"{wait}={_ENVIRONMENT[wait]}" in path.read_text()


@pytest.mark.parametrize("name", LAUNCHED)
def test_tokens_are_asked_for_and_no_port_listens_for_the_world(name: str) -> None:
    config = read(name)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("RAY_AUTH_MODE=token" in command for command in config["setup_commands"])
    head = " ".join(config["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in head
    assert "0.0.0.0" not in LAUNCHED[name].read_text()


@pytest.mark.parametrize("name", LAUNCHED)
def test_every_command_is_a_shell_command_as_ray_wraps_it(name: str) -> None:
    config = read(name)
    for command in (command for key in COMMANDS for command in config[key]):
        wrapped = f"source ~/.bashrc; export X=1 && ({command})"
        checked = subprocess.run(["bash", "-n", "-c", wrapped], capture_output=True, text=True)
        assert checked.returncode == 0, f"{command}: {checked.stderr}"


@pytest.mark.parametrize("name", CLOUDS)
def test_workers_come_from_zero_spot_first_and_the_head_trains_nothing(name: str) -> None:
    prepared = validated(read(name))
    types = prepared["available_node_types"]
    head = types.pop(prepared["head_node_type"])
    assert head["resources"]["CPU"] == 0
    assert all(node["min_workers"] == 0 < node["max_workers"] for node in types.values())
    assert types["gpu_spot"]["priority"] > types["gpu_on_demand"]["priority"]
    assert sum(node["max_workers"] for node in types.values()) == prepared["max_workers"]
    assert prepared["idle_timeout_minutes"] <= 15
    watcher = " ".join(prepared["worker_start_ray_commands"])
    assert f"bench.engine.spot_watch {prepared['provider']['type']}" in watcher


def test_kuberay() -> None:
    claim, cluster = yaml.safe_load_all((PAGES / "kuberay.yaml").read_text())
    assert (claim["kind"], cluster["apiVersion"], cluster["kind"]) == (
        "PersistentVolumeClaim",
        "ray.io/v1",
        "RayCluster",
    )
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    spec = cluster["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["enableInTreeAutoscaling"]
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    groups = spec["workerGroupSpecs"]
    assert [(group["minReplicas"], group["replicas"]) for group in groups] == [(0, 0)]
    for group in (spec["headGroupSpec"], *groups):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert "/mnt/bench" in {mount["mountPath"] for mount in container["volumeMounts"]}
            assert container["resources"]["requests"] == container["resources"]["limits"]
    assert spec["rayVersion"] == pinned("ray")


def test_the_image_holds_what_the_checkout_has() -> None:
    text = (PAGES / "Dockerfile").read_text()
    assert f"rayproject/ray:{pinned('ray')}-" in text
    for line in re.findall(r"^COPY --chown=\S+ (.*) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in line.split())


def pinned(package: str) -> str:
    found = re.search(rf"^{package}(?:\[[^]]*\])?==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def test_slurm_is_a_script_that_bash_can_read() -> None:
    path = PAGES / "slurm.sh"
    assert subprocess.run(["bash", "-n", str(path)], capture_output=True).stderr == b""
    lines = path.read_text().splitlines()
    directives = [index for index, line in enumerate(lines) if line.startswith("#SBATCH ")]
    assert all(line.startswith("#") for line in lines[: directives[-1]])  # Slurm reads none after the first command
    assert "#SBATCH --nodes=2" in lines


def test_the_page_shows_every_file() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text()
    for path in (*PAGES.iterdir(), Path("cluster.yaml")):
        assert f"{path.name}" in page
