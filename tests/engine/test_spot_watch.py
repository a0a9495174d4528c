"""The watcher of spot nodes, against a metadata service on loopback that answers as AWS and Google do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.engine.spot_watch import aws_seconds_left, drain_command, gcp_seconds_left, watch

NOW = datetime(2026, 11, 22, 8, 20, 0, tzinfo=UTC)
TOKEN = "a-session-token"


class Metadata(ThreadingHTTPServer):
    """`notice` is the interruption that is on its way; None is none."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.notice: str | None = None
        self.preempted = "FALSE"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Metadata

    def do_PUT(self) -> None:
        lifetime = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
        self._answer(TOKEN if self.path == "/latest/api/token" and lifetime else None)

    def do_GET(self) -> None:
        if self.path == "/latest/meta-data/spot/instance-action":
            if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
                self.send_error(401)
                return
            self._answer(self.server.notice)
        elif self.path == "/computeMetadata/v1/instance/preempted":
            self._answer(self.server.preempted if self.headers.get("Metadata-Flavor") == "Google" else None)
        else:
            self.send_error(404)

    def _answer(self, text: str | None) -> None:
        if text is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    server = Metadata()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_aws_says_nothing_until_an_interruption_comes(metadata: Metadata) -> None:
    assert aws_seconds_left(metadata.url, NOW) is None
    metadata.notice = '{"action": "terminate", "time": "2026-11-22T08:22:00Z"}'
    assert aws_seconds_left(metadata.url, NOW) == 120.0
    metadata.notice = '{"action": "stop", "time": "2026-11-22T08:19:00Z"}'
    assert aws_seconds_left(metadata.url, NOW) == 0.0


def test_google_gives_half_a_minute(metadata: Metadata) -> None:
    assert gcp_seconds_left(metadata.url, NOW) is None
    metadata.preempted = "TRUE"
    assert gcp_seconds_left(metadata.url, NOW) == 30.0


def test_the_node_is_drained_once_with_the_time_that_is_left(metadata: Metadata) -> None:
    drained: list[float] = []
    pauses = 0

    def pause(_: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 2:
            metadata.notice = '{"action": "terminate", "time": "2026-11-22T08:21:30Z"}'

    def drain(seconds: float) -> bool:
        drained.append(seconds)
        return len(drained) > 1  # Ray did not answer the first time

    watch(lambda: aws_seconds_left(metadata.url, NOW), drain, pause=pause)
    assert drained == [90.0, 90.0]
    assert pauses == 3


@pytest.mark.parametrize("notice", ["not json", '{"action": "terminate"}', '{"action": "terminate", "time": "soon"}'])
def test_silence_and_nonsense_are_survived(metadata: Metadata, notice: str) -> None:
    answers: list[float | None] = []

    def pause(_: float) -> None:
        metadata.notice = '{"action": "terminate", "time": "2026-11-22T08:21:00Z"}'

    def seconds_left() -> float | None:
        answers.append(None)
        if len(answers) == 1:
            raise OSError("no route to host")
        return aws_seconds_left(metadata.url, NOW)

    metadata.notice = notice
    with pytest.raises((ValueError, KeyError)):
        aws_seconds_left(metadata.url, NOW)
    watch(seconds_left, lambda seconds: seconds == 60.0, pause=pause)
    assert len(answers) == 2


def test_ray_is_told_why_and_until_when() -> None:
    command = drain_command(119.7)
    assert command[1] == "drain-node"
    assert command[command.index("--reason") + 1] == "DRAIN_NODE_REASON_PREEMPTION"
    assert command[command.index("--deadline-remaining-seconds") + 1] == "119"
