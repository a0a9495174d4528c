"""What a load test reports: seconds as percentiles, memory of a process, a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """How many, and p50, p99 and the largest, in seconds."""
    if not len(seconds):
        return {"count": 0}
    half, late = np.percentile(seconds, [50, 99])
    return {"count": len(seconds), "p50": float(half), "p99": float(late), "most": float(max(seconds))}


def memory_mb(pid: int | str = "self") -> float:
    """Resident memory of a process in MB, as the kernel counts it."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def report(found: Mapping[str, Any], path: Path | None) -> None:
    """Prints what was found, a line each, and writes it as JSON."""
    for name, value in found.items():
        print(f"{name:<24} {_say(value)}")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")


def _say(value: Any) -> str:
    if isinstance(value, Mapping):
        return "  ".join(f"{name} {_say(inner)}" for name, inner in value.items())
    return f"{value:,.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
