"""The findings of an audit in the terminal; names of files and classes are shown as they are, never as markup."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.data.audit.audit import Audit
from bench.data.audit.findings import SEVERITIES, Finding, counted

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_SHOWN = 3  # cases of a finding
_CLASSES = 12
_CONTROL = dict.fromkeys([*range(32), *range(127, 160)], "?")  # a file name may hold what a terminal obeys


def show_audit(audit: Audit, console: Console) -> None:
    """Prints the counts and a table of the findings with their first files."""
    console.print(Text(_plain(_headline(audit))))
    for line in _counts(audit):
        console.print(Text(_plain(line), style="dim"))
    if not audit.findings:
        console.print("nothing was found", style="green")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for head in ("severity", "what", "for example"):
        table.add_column(head, overflow="fold")
    for finding in audit.findings:
        table.add_row(
            Text(finding.severity, style=_STYLES[finding.severity]),
            Text(_plain(f"{finding.what}; {finding.advice}")),
            Text("\n".join(_plain(line) for line in _examples(finding)), style="dim"),
        )
    console.print(table)
    console.print(", ".join(_totals(audit)))


def _headline(audit: Audit) -> str:
    return f"{audit.folder}: {audit.facts.images:,} images, read as {audit.reader}; embedding: {audit.embedding}"


def _counts(audit: Audit) -> list[str]:
    facts = audit.facts
    largest = sorted(facts.classes.items(), key=lambda item: -item[1])
    more = f" and {len(largest) - _CLASSES} more" if len(largest) > _CLASSES else ""
    classes = ", ".join(f"{name} {count:,}" for name, count in largest[:_CLASSES])
    sizes = ", ".join(f"{size[0]} x {size[1]} x {size[2]} ({count:,})" for size, count in facts.sizes[:5])
    splits = ", ".join(f"{name} {count:,}" for name, count in facts.splits.items())
    lines = {
        f"{len(largest)} classes": classes + more,
        "unlabelled": f"{facts.unlabelled:,}" if facts.unlabelled else "",
        "width x height x channels": sizes + (f" and {len(facts.sizes) - 5} more" if len(facts.sizes) > 5 else ""),
        "splits": splits,
    }
    return [f"{name}: {text}" for name, text in lines.items() if text]


def _examples(finding: Finding) -> list[str]:
    lines = [", ".join(case.files[:4]) + (f" ({case.note})" if case.note else "") for case in finding.cases[:_SHOWN]]
    hidden = len(finding.cases) - _SHOWN
    return [*lines, f"and {hidden:,} more"] if hidden > 0 else lines


def _totals(audit: Audit) -> list[str]:
    kinds = [finding.severity for finding in audit.findings]
    return [counted(kinds.count(severity), severity) for severity in SEVERITIES]


def _plain(text: str) -> str:
    return text.translate(_CONTROL)
