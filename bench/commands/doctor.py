"""`bench doctor`: is this machine, and the cluster it belongs to, fit to run studies?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands.arguments import RESULTS, Results

if TYPE_CHECKING:
    from bench.engine.doctor import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


def doctor(
    results: Results = RESULTS,
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Ray cluster to look at; default: the one that runs here")
    ] = None,
) -> None:
    """Look at this machine and at each node of the Ray cluster; exit status 1 and a remedy where something is wrong."""
    from bench.engine.doctor import machine_findings
    from bench.engine.doctor_nodes import cluster_findings

    wrong = _show(machine_findings(results))
    wrong |= _show(cluster_findings(address, results))
    raise typer.Exit(int(wrong))


def _show(findings: Sequence[Finding]) -> bool:
    """Prints a line for each, and its remedy; returns whether one is an error."""
    from rich.console import Console

    console = Console()
    for finding in findings:
        console.print(f"[{_COLOURS[finding.level]}]{finding.level:8}[/]", end="")
        console.print(f"{finding.what}: {finding.found}", highlight=False, markup=False, soft_wrap=True)
        if finding.remedy:
            console.print(f"        remedy: {finding.remedy}", highlight=False, markup=False, soft_wrap=True)
    return any(finding.level == "error" for finding in findings)
