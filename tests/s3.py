"""A real S3 API on loopback: moto's server, a bucket in it, and a list of the requests that it was sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.store.mirror import open_place

BUCKET = "bench-test"


@dataclass
class Bucket:
    """The bucket: its requests as (method, path and query), and places within it."""

    requests: list[tuple[str, str]] = field(default_factory=list)
    cache: Path = Path()
    patch: pytest.MonkeyPatch = field(default_factory=pytest.MonkeyPatch)

    def client(self):  # type: ignore[no-untyped-def]
        import boto3

        return boto3.client("s3")

    def machine(self, name: str, prefix: str, *, fresh: bool = True) -> Path:
        """The results folder of a prefix on a machine of this name: each has a cache of its own."""
        self.patch.setenv("BENCH_CACHE", str(self.cache / name))
        return open_place(f"s3://{BUCKET}/{prefix}", fresh=fresh)

    def names(self, prefix: str) -> list[str]:
        """Keys below a prefix, without it."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
        return [item["Key"].removeprefix(f"{prefix}/") for page in pages for item in page.get("Contents", ())]

    def flip(self, key: str) -> None:
        """Changes one bit in the middle of an object."""
        content = bytearray(self.client().get_object(Bucket=BUCKET, Key=key)["Body"].read())
        content[len(content) // 2] ^= 1
        self.client().put_object(Bucket=BUCKET, Key=key, Body=bytes(content))

    def sent(self, method: str, part: str = "") -> int:
        """Requests since the list was cleared."""
        return sum(said == method and part in what for said, what in self.requests)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    server = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    found = Bucket(cache=tmp_path_factory.mktemp("machines"))
    answer = server.DomainDispatcherApplication.__call__

    def counted(self, environ, start):  # type: ignore[no-untyped-def]
        found.requests.append((environ["REQUEST_METHOD"], f"{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}"))
        return answer(self, environ, start)

    found.patch.setattr(server.DomainDispatcherApplication, "__call__", counted)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    known = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**known, "AWS_ENDPOINT_URL": f"http://{host}:{port}", "NO_PROXY": "127.0.0.1"}.items():
        found.patch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    found.client().create_bucket(Bucket=BUCKET)
    yield found
    running.stop()
    s3fs.S3FileSystem.clear_instance_cache()
    found.patch.undo()
