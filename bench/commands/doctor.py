"""`bench doctor`: is this machine, and the cluster it belongs to, fit to run studies?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    results: Annotated[Path, typer.Option("--results", metavar="DIR", help="results folder")] = Path("results"),
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Ray cluster to look at; default: the one that runs here")
    ] = None,
) -> None:
    """Look at this machine and at each node of the Ray cluster; exit status 1 and a remedy where something is wrong."""
    from rich.console import Console

    from bench.engine.doctor import ERROR, OK, machine_findings
    from bench.engine.doctor_nodes import cluster_findings

    console, colours = Console(), {OK: "green", ERROR: "red"}
    worst = 0
    for findings in (machine_findings(results), cluster_findings(address, results)):
        for finding in findings:
            colour = colours.get(finding.level, "yellow")
            console.print(f"[{colour}]{finding.level:8}[/]", end="")
            console.print(f"{finding.what}: {finding.found}", highlight=False, markup=False, soft_wrap=True)
            if finding.remedy:
                console.print(f"        remedy: {finding.remedy}", highlight=False, markup=False, soft_wrap=True)
            worst |= finding.level == ERROR
    raise typer.Exit(int(worst))
