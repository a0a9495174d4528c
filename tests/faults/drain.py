"""Drains a worker node as a spot notice does: `python -m tests.faults.drain HOST:PORT NAME SECONDS`."""

from __future__ import annotations

import subprocess
import sys

import bench.engine.cluster  # noqa: F401  (first: the environment that Ray reads)
from bench.engine.spot_watch import drain_command

import ray  # isort: skip

if __name__ == "__main__":
    address, name, seconds = sys.argv[1:]
    ray.init(address=address, logging_level="ERROR")
    node = next(node["NodeID"] for node in ray.nodes() if node["Alive"] and name in node["Resources"])
    subprocess.run([*drain_command(float(seconds)), "--address", address, "--node-id", node], check=True)
