"""Collects findings: exact counts, the first hundred of each code listed, excerpts made for those alone."""

from __future__ import annotations

from collections.abc import Iterable

from service.datasets.checks import CHECKS
from service.datasets.checks.registry import Hit
from service.datasets.excerpts import excerpt, mask, mask_secrets
from service.datasets.report_schema import Finding

_ORDER = {"error": 0, "warning": 1, "info": 2}


class Findings:
    """Takes hits in any order of codes, in ascending lines per code; so the listed ones are the first.

    The findings of the lines that follow can be collected apart and merged; `full` names the codes that have no room
    left by then, so that no excerpts are made for nothing.
    """

    def __init__(self, listed_per_code: int, full: frozenset[str] = frozenset()) -> None:
        self.counts: dict[str, int] = {}
        self._listed_per_code = listed_per_code
        self._full = full
        self._listed: dict[str, list[Finding]] = {}
        self._error_lines: set[int] = set()
        self._error_lines_merged = 0

    def add(self, code: str, line: int, hit: Hit) -> None:
        """Counts one hit, and lists it while its code has room."""
        self.counts[code] = self.counts.get(code, 0) + 1
        check = CHECKS[code]
        if check.severity == "error":
            self._error_lines.add(line)
        listed = self._listed.setdefault(code, [])
        if len(listed) < self._listed_per_code and code not in self._full:
            listed.append(
                Finding(
                    code=code,
                    severity=check.severity,
                    line=line,
                    pointer=mask_secrets(hit.pointer),
                    excerpt=excerpt(hit.value, hit.at),
                    message=mask(hit.message),
                    fix=check.fix,
                )
            )

    def add_all(self, code: str, line: int, hits: Iterable[Hit]) -> None:
        """Adds every hit of one check on one line."""
        for hit in hits:
            self.add(code, line, hit)

    def merge(self, later: Findings) -> None:
        """Adds the findings of lines after those seen so far. Of a line that both know, only the first may."""
        for code, count in later.counts.items():
            self.counts[code] = self.counts.get(code, 0) + count
        for code, listed in later._listed.items():
            mine = self._listed.setdefault(code, [])
            mine.extend(listed[: self._listed_per_code - len(mine)])
        self._error_lines_merged += len(later._error_lines - {1})
        self._error_lines |= later._error_lines & {1}

    def full(self) -> frozenset[str]:
        """The codes of which no more are listed."""
        return frozenset([code for code, listed in self._listed.items() if len(listed) >= self._listed_per_code])

    @property
    def lines_with_errors(self) -> int:
        """How many lines have at least one error."""
        return len(self._error_lines) + self._error_lines_merged

    def total(self, severity: str) -> int:
        """Exact number of findings of one severity."""
        return sum(count for code, count in self.counts.items() if CHECKS[code].severity == severity)

    def listed(self) -> list[Finding]:
        """Errors first, then warnings, then notes; by line within each, and by code on one line."""
        listed = [finding for of_code in self._listed.values() for finding in of_code]
        return sorted(listed, key=lambda finding: (_ORDER[finding.severity], finding.line, finding.code))
