"""`bench run --cluster FILE`: the study runs on the cluster; this terminal only looks on."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.errors import UserError
from bench.store.remote import is_address
from bench.store.secrets import check_place
from bench.study.load import find_study, load_study

REMOTE_RESULTS = "~/results"


def check_options(cluster: str | None, attach: bool, address: str | None, loggers: Sequence[str] = ()) -> None:
    """Raises:
    UserError: options of `bench run` that do not go together.
    """
    if attach and cluster is None:
        raise UserError("--attach: on which cluster? valid: --cluster FILE --attach")
    if cluster is not None and address is not None:
        raise UserError("--address and --cluster: give one; --address is for a shell on a node of the cluster")
    if cluster is not None and loggers:
        raise UserError("--log and --cluster: give one; --log writes beside the results, from a shell on a node")
    check_place("--cluster", cluster or "")


def run_on_cluster(
    cluster: str, study: str | None, overrides: Sequence[str], results: Path | str, attach: bool, console: Console
) -> int:
    """Submits a study, or finds the job again, and follows it; returns the exit status.

    Args:
        cluster: a file for `ray up`, or the URL of a dashboard.
        results: folder on this machine that the rows are copied to; or the address of an object store, which the
            cluster then writes to, and nothing is copied.
        attach: start nothing: follow the newest job, of this study where one is named.
    """
    from bench.engine import remote

    remote.check_cluster(cluster)
    job = None
    if study is not None or not attach:
        resolved, text = load_study(path := find_study(study), overrides), path.read_text(encoding="utf-8")
        columns = shutil.get_terminal_size((120, 24)).columns
        job = remote.study_job(resolved.study, text, overrides, columns, _address(results))
    with remote.connection(cluster) as client:
        if attach:
            name, started = remote.newest(client, job.prefix if job else None), False
        else:
            assert job is not None  # nosec B101 # for mypy
            name, started = remote.submit(client, job)
        _say_job(console, name, started, cluster)
        try:
            succeeded = remote.follow(cluster, client, name, _write)
        except KeyboardInterrupt:
            console.print(f"\n{name} goes on without this terminal; look again with --attach", highlight=False)
            return 130
    if not succeeded:
        console.print(f"{name} failed or was stopped; the same command goes on from what it finished", highlight=False)
    _pull(cluster, results, console)
    return 0 if succeeded else 1


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _say_job(console: Console, name: str, started: bool, cluster: str) -> None:
    how = "submitted" if started else "attached to"
    console.print(f"{how} {name}; Ctrl-C leaves it running", highlight=False, soft_wrap=True)
    if not cluster.startswith("http"):
        console.print(f"to end it: ray exec {cluster} 'ray job stop {name}'", highlight=False, soft_wrap=True)


def _address(results: Path | str) -> str | None:
    return str(results) if is_address(str(results)) else None


def _pull(cluster: str, results: Path | str, console: Console) -> None:
    from bench.engine import remote
    from bench.engine.tunnel import pull

    if _address(results) or remote.is_url(cluster):
        console.print(f"results: {_address(results) or f'{REMOTE_RESULTS} on the head'}", highlight=False)
        return
    folder = Path(results)
    try:
        pull(Path(cluster), REMOTE_RESULTS, folder)
    except UserError as error:
        console.print(f"{error}", highlight=False, markup=False)
        return
    console.print(f"rows: {folder / 'rows'}/*.parquet, copied from the head", highlight=False, soft_wrap=True)
