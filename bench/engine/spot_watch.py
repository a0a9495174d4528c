"""On a spot node: when the cloud says that it takes the machine, Ray drains the node before it goes.

Draining: nothing new is scheduled on the node, and what runs there and dies counts as preempted, not as failed.
The cluster files start `python -m bench.engine.spot_watch aws` (or `gcp`) on each worker. It asks the cloud's metadata
service, which answers on every machine; on one that is not a spot machine the answer is always no.
"""

from __future__ import annotations

import argparse
import json
import subprocess  # nosec B404 # no shell, arguments as lists
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

AWS, GCP = "http://169.254.169.254", "http://metadata.google.internal"
_POLL_SECONDS = 5.0
_ANSWER_SECONDS = 2.0
_TOKEN_SECONDS = 21600  # the longest that AWS grants
_GCP_NOTICE = 30.0  # seconds from the notice to the end, as documented


def aws_seconds_left(url: str, now: datetime) -> float | None:
    """Seconds until AWS takes this machine; None where it does not say that it will.

    Version 2 of the instance metadata service: a session token, then `spot/instance-action`, which is not there (404)
    until an interruption is on its way.

    Args:
        now: with time zone.

    Raises:
        OSError: the service does not answer.
    """
    wanted = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}
    token = _ask(f"{url}/latest/api/token", "PUT", wanted)
    said = _ask(f"{url}/latest/meta-data/spot/instance-action", "GET", {"X-aws-ec2-metadata-token": token or ""})
    if said is None:
        return None
    notice = json.loads(said)
    if notice["action"] not in ("terminate", "stop", "hibernate"):
        return None
    return max(0.0, (datetime.fromisoformat(notice["time"]) - now).total_seconds())


def gcp_seconds_left(url: str, now: datetime) -> float | None:
    """Seconds until Google takes this machine; None where it does not say that it will.

    Raises:
        OSError: the service does not answer.
    """
    said = _ask(f"{url}/computeMetadata/v1/instance/preempted", "GET", {"Metadata-Flavor": "Google"})
    return _GCP_NOTICE if said is not None and said.strip() == "TRUE" else None


CLOUDS: dict[str, tuple[str, Callable[[str, datetime], float | None]]] = {
    "aws": (AWS, aws_seconds_left),
    "gcp": (GCP, gcp_seconds_left),
}


def _ask(url: str, method: str, headers: dict[str, str]) -> str | None:
    """The answer's text; None where there is nothing of that name."""
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:  # nosec B310 # the cloud's own service
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def drain_command(seconds: float) -> list[str]:
    """The command that drains the node it is run on, within these seconds."""
    ray = Path(sys.executable).with_name("ray")
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the cloud takes this spot machine"]
    return [str(ray), "drain-node", *reason, "--deadline-remaining-seconds", str(int(seconds))]


def watch(
    seconds_left: Callable[[], float | None],
    drain: Callable[[float], bool],
    *,
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Asks every few seconds until the machine is to go; drains the node and returns.

    Args:
        seconds_left: None while nothing is known; an error, or an answer that makes no sense, is taken for that, too.
        drain: whether Ray took the request; if not, it is asked again while there is time.
    """
    while True:
        try:
            seconds = seconds_left()
        except (OSError, ValueError, KeyError) as error:
            print(f"no answer from the metadata service: {error!r}", flush=True)
            seconds = None
        if seconds is not None:
            print(f"this machine goes in {seconds:.0f} s", flush=True)
            if drain(seconds) or seconds <= 0:
                return
        pause(_POLL_SECONDS)


def _drain(seconds: float) -> bool:
    return subprocess.run(drain_command(seconds)).returncode == 0  # nosec B603 # constants and a number


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.engine.spot_watch", description=__doc__)
    parser.add_argument("cloud", choices=sorted(CLOUDS))
    parser.add_argument("--url", help="of the metadata service")
    options = parser.parse_args(arguments)
    default, ask = CLOUDS[options.cloud]
    watch(lambda: ask(options.url or default, datetime.now(UTC)), _drain)


if __name__ == "__main__":
    main()
