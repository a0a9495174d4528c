"""A study as a job on the head of a cluster: it goes on when this machine sleeps, and can be looked in on again.

The job runs the command that a laptop would run, in the home of the head. Its folder `results` there is one that every
node sees; the cluster files see to that.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.engine.cluster import first_line  # before Ray, for the environment that it sets
from bench.engine.tunnel import read_cluster_file, tunnel
from bench.errors import UserError
from bench.store.keys import digest_text

from ray.exceptions import AuthenticationError  # isort: skip
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient  # isort: skip

_PREFIX = "bench-"
_POLL_SECONDS = 2.0
_PATIENCE = 30  # failed looks in a row before giving up: a minute, and what each new tunnel takes
_UNREACHABLE = (ConnectionError, OSError, RuntimeError)  # of the client; a missing answer raises any of these
_HEADER = re.compile(r"\A(?s:.*?)^Running entrypoint for job [^\n]*\n", re.MULTILINE)  # what Ray says first
_OVER = {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED}


@dataclass(frozen=True)
class Job:
    """What is submitted: a name people can read, and the shell command the head runs."""

    study: str
    digest: str  # of the study's text and the options: not of the terminal that asked
    entrypoint: str

    @property
    def prefix(self) -> str:
        """What the ids of all jobs of this command begin with: the same command finds its job again."""
        name = re.sub(r"[^A-Za-z0-9_]+", "_", self.study)
        return f"{_PREFIX}{name}-{self.digest[:8]}-"


def study_job(name: str, text: str, overrides: Sequence[str], columns: int, results: str | None = None) -> Job:
    """The job that runs a study.

    Args:
        text: the study file's content; it travels with the command, so that what runs is what lies here.
        columns: width of the terminal that will show the leaderboard.
        results: address of an object store that takes the results; None is the folder in the head's home.
    """
    options = [part for override in overrides for part in ("--set", override)]
    options += ["--results", results] if results else []
    file = f"studies/{digest_text(text)[:8]}.yaml"
    run = shlex.join(["python", "-u", "-m", "bench.run", file, *options])
    carried = base64.b64encode(text.encode()).decode()  # on one line, as Ray repeats the command in the job's log
    steps = ["cd ~", "mkdir -p studies", f"echo {carried} | base64 -d > {file}", f"COLUMNS={columns} {run}"]
    return Job(name, digest_text(run), " && ".join(steps))


@contextlib.contextmanager
def connection(cluster: str) -> Iterator[JobSubmissionClient]:
    """A client of the cluster's job server, for the length of the block.

    Args:
        cluster: a file for `ray up`, or the URL of a dashboard that is already forwarded to this machine.

    Raises:
        UserError: no such file; nothing answers; the token is another one.
    """
    with contextlib.ExitStack() as stack:
        url = cluster if is_url(cluster) else stack.enter_context(tunnel(Path(cluster)))
        os.environ["RAY_API_SERVER_ADDRESS"] = url  # else RAY_ADDRESS, where it is set, would win
        try:
            client = JobSubmissionClient(url)
        except AuthenticationError:
            raise UserError(
                f"--cluster {cluster}: the cluster has another token; copy it from there to ~/.ray/auth_token, "
                "or point RAY_AUTH_TOKEN_PATH at it"
            ) from None
        except _UNREACHABLE as error:
            raise UserError(f"--cluster {cluster}: no job server answers ({first_line(error)})") from None
        yield client


def is_url(cluster: str) -> bool:
    return cluster.startswith(("http://", "https://"))


def check_cluster(cluster: str) -> None:
    """Raises:
    UserError: `cluster` is neither a URL nor a file for `ray up`.
    """
    if not is_url(cluster):
        read_cluster_file(Path(cluster))


def submit(client: JobSubmissionClient, job: Job) -> tuple[str, bool]:
    """Starts the job, unless the same one runs already; returns its id and whether it was started now."""
    running = [found for found in _jobs(client, job.prefix) if found.status not in _OVER]
    if running:
        return str(running[-1].submission_id), False
    name = job.prefix + time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    return _sent(client, job.entrypoint, name), True


def _sent(client: JobSubmissionClient, entrypoint: str, name: str) -> str:
    """The id of the job; a head that has only just started may have no agent yet, and is asked again for a minute."""
    for left in reversed(range(_PATIENCE)):
        try:
            return client.submit_job(entrypoint=entrypoint, submission_id=name)
        except RuntimeError as error:
            if not left or "No available agent" not in str(error):
                raise
            time.sleep(_POLL_SECONDS)
    raise AssertionError("the last attempt returns or raises")


def newest(client: JobSubmissionClient, prefix: str | None) -> str:
    """The id of the newest job of bench whose id begins so.

    Raises:
        UserError: there is none.
    """
    found = _jobs(client, prefix or _PREFIX)
    if not found:
        every = [str(job.submission_id) for job in _jobs(client, _PREFIX)]
        raise UserError(f"--attach: no such job on this cluster; its jobs: {', '.join(every) or 'none'}")
    return str(found[-1].submission_id)


def _jobs(client: JobSubmissionClient, prefix: str) -> list[JobDetails]:
    """Jobs by the time they were submitted, the newest last."""
    found = [job for job in client.list_jobs() if (job.submission_id or "").startswith(prefix)]
    return sorted(found, key=lambda job: job.start_time or 0)


def follow(cluster: str, client: JobSubmissionClient, job: str, write: Callable[[str], object]) -> bool:
    """Hands on what a job prints until it ends, through as many new connections as that takes.

    Returns:
        Whether the job succeeded.

    Raises:
        UserError: the cluster did not answer for minutes; the job may still run.
    """
    said = 0
    with contextlib.ExitStack() as stack:
        failures = 0
        while failures < _PATIENCE:
            try:
                said, status = _look(client, job, said, write)
                failures = 0
            except (*_UNREACHABLE, UserError):
                failures += 1
                stack.close()
                with contextlib.suppress(UserError):
                    client = stack.enter_context(connection(cluster))
            else:
                if status in _OVER:
                    return status == JobStatus.SUCCEEDED
            time.sleep(_POLL_SECONDS)
    raise UserError(f"--cluster {cluster}: no answer any more; the job may still run: try --attach later")


def _look(client: JobSubmissionClient, job: str, said: int, write: Callable[[str], object]) -> tuple[int, JobStatus]:
    """Writes what the job has said since; the status is asked for first, so that nothing is missed at the end."""
    status = client.get_job_status(job)
    if status == JobStatus.PENDING:
        return said, status
    text = _HEADER.sub("", client.get_job_logs(job))
    if len(text) > said:
        write(text[said:])
    return max(said, len(text)), status
