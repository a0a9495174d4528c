"""From the laptop to the head: the dashboard's port through ssh, and files back; both by Ray's own launcher."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess  # nosec B404 # no shell, arguments as lists
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from bench.errors import UserError

_OPEN_SECONDS = 90.0
_NOT_PULLED = ["/artifacts", "/progress"]  # gigabytes that can be computed again; what only the cluster needs


def read_cluster_file(path: Path) -> dict[str, Any]:
    """Raises:
    UserError: there is no such file, or it is no cluster file of `ray up`.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"--cluster {path}: {str(error).splitlines()[0]}") from None
    if not isinstance(config, dict) or not {"cluster_name", "provider"} <= set(config):
        raise UserError(
            f"--cluster {path}: no cluster_name and provider; valid: a file for `ray up`, or http://HOST:PORT"
        )
    return config


@contextlib.contextmanager
def tunnel(cluster: Path, seconds: float = _OPEN_SECONDS) -> Iterator[str]:
    """The URL of the head's dashboard on this machine, for as long as the block lasts.

    Raises:
        UserError: the head cannot be reached; the message holds what ssh said last.
    """
    port = _free_port()
    with tempfile.TemporaryFile() as said:
        command = [*_ray(), "dashboard", str(cluster), "--port", str(port)]
        process = subprocess.Popen(  # nosec B603 # ray, with the user's own file
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
        try:
            if not _opens(port, process, seconds):
                raise UserError(
                    f"--cluster {cluster}: the head cannot be reached ({_last_line(said)}); is it up: `ray up`?"
                )
            yield f"http://127.0.0.1:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)  # ray and the ssh it started
            process.wait()


def pull(cluster: Path, remote: str, local: Path) -> None:
    """Copies the tables, manifests and splits of a results folder on the head into a folder here.

    Raises:
        UserError: the head cannot be reached, or has no such folder.
    """
    local.mkdir(parents=True, exist_ok=True)
    config = read_cluster_file(cluster) | {"rsync_exclude": _NOT_PULLED, "rsync_filter": []}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "cluster.yaml"
        copy.write_text(yaml.safe_dump(config), encoding="utf-8")
        command = [*_ray(), "rsync-down", str(copy), f"{remote}/", f"{local}/"]
        done = subprocess.run(  # nosec B603 # ray, with the user's own file
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    if done.returncode:
        raise UserError(f"{remote} of the head cannot be copied: {(done.stdout.strip().splitlines() or ['?'])[-1]}")


def _ray() -> list[str]:
    """The launcher of this environment, else the one on the path."""
    beside = Path(sys.executable).with_name("ray")
    found = str(beside) if beside.is_file() else shutil.which("ray")
    if found is None:
        raise UserError("--cluster: the command `ray` is not installed here")
    return [found]


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _opens(port: int, process: subprocess.Popen[bytes], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.2)
    return False


def _last_line(said: Any) -> str:
    said.seek(0)
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "no answer"
