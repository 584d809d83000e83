"""What is still wrong with the files that a preparation wrote, from their reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cli.advice import typed
from service.datasets.report_schema import FileReport, Severity

MAX_SHOWN = 8
"""Codes that are shown for a file; `tunegate check` shows all."""


class Left(NamedTuple):
    """One code of a report: its severity, the number of findings, and the first finding's line and message."""

    code: str
    severity: Severity
    findings: int
    line: int
    message: str


def findings_left(report: FileReport) -> list[Left]:
    """The errors of a report, then its warnings; of each kind the most frequent first."""
    found: dict[str, Left] = {}
    for each in report.findings:
        if each.severity != "info" and each.code not in found:
            count = report.counts.get(each.code, 1)
            found[each.code] = Left(each.code, each.severity, count, each.line, each.message)
    return sorted(found.values(), key=lambda left: (left.severity != "error", -left.findings))


def sentences_left(path: Path, report: FileReport) -> Iterator[tuple[Severity, str]]:
    """A sentence for each code, with what to do, then the command that shows every line."""
    left = findings_left(report)
    for each in left[:MAX_SHOWN]:
        place = f"line {each.line}: " if each.findings == 1 else f"{each.findings:,}x, first in line {each.line}: "
        yield each.severity, f"{each.code}  {place}{each.message}"
    if left:
        more = f"{len(left) - MAX_SHOWN} more codes; " if len(left) > MAX_SHOWN else ""
        yield "info", f"{more}tunegate check {typed(path)} shows every line"
