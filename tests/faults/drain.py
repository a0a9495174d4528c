"""Drains the worker node of a cluster as a spot notice does: `python -m tests.faults.drain HOST:PORT`."""

from __future__ import annotations

import subprocess
import sys

import ray

from bench.engine.spot_watch import drain_command

if __name__ == "__main__":
    address = sys.argv[1]
    ray.init(address=address, logging_level="ERROR")
    worker = next(node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU"))
    subprocess.run([*drain_command(5), "--address", address, "--node-id", worker], check=True)
