"""What an audit says: typed findings with a severity, and the exit status that follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from bench.errors import UserError

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
FAIL_ON = ("error", "warning")


class Case(NamedTuple):
    """Files that a finding is about, and a few words of their own ("labelled Cell and Diode"); they may be empty."""

    files: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """One kind of thing found.

    Attributes:
        kind: a name for programs, e.g. "conflicting_labels".
        severity: "error" spoils results, "warning" may, "note" is worth knowing.
        what: one sentence with the counts.
        advice: what to do about it.
        cases: the files, worst first.
    """

    kind: str
    severity: Severity
    what: str
    advice: str
    cases: tuple[Case, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain JSON data, every case included."""
        cases = [{"files": list(case.files), "note": case.note} for case in self.cases]
        return {
            "kind": self.kind,
            "severity": self.severity,
            "what": self.what,
            "advice": self.advice,
            "count": len(self.cases),
            "cases": cases,
        }


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings, errors first; those of one severity stay in their order."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def check_fail_on(value: str) -> None:
    """Raises UserError where a run cannot be told to fail on this."""
    if value not in FAIL_ON:
        raise UserError(f"--fail-on: {value!r} is no severity to fail on; valid: {', '.join(FAIL_ON)}")


def exit_status(findings: Sequence[Finding], fail_on: str = "error") -> int:
    """1 where a finding is at least as severe as `fail_on` ("error" or "warning"), else 0."""
    limit = SEVERITIES.index("warning" if fail_on == "warning" else "error")
    return int(any(SEVERITIES.index(finding.severity) <= limit for finding in findings))


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: counted(2, "pair") is "2 pairs"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
