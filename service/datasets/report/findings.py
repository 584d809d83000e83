"""Collects findings: exact counts of all, and the first of each code (100 by default) with their excerpts."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from service.datasets.checks import CHECKS
from service.datasets.checks.registry import Hit
from service.datasets.excerpts import excerpt, mask, mask_secrets
from service.datasets.report_schema import Finding

_ORDER = {"error": 0, "warning": 1, "info": 2}


class Findings:
    """The findings of some lines. Hits of one code must be added in ascending order of lines.

    At most `listed_per_code` findings are listed for each code. Findings of later lines can be collected separately and
    merged; `full` names the codes that reached that limit before, so that no excerpts are made for them.
    """

    def __init__(self, listed_per_code: int, full: frozenset[str] = frozenset()) -> None:
        self.counts: dict[str, int] = {}
        self._listed_per_code = listed_per_code
        self._full = full
        self._listed: dict[str, list[Finding]] = {}
        self._error_lines: set[int] = set()
        self._error_lines_merged = 0

    def add(self, code: str, line: int, hit: Hit) -> None:
        """Counts one hit, and lists it unless its code reached the limit."""
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

    def explain(self, code: str, sentence: str) -> None:
        """Adds a sentence to the message of each listed finding of a code."""
        listed = self._listed.get(code, [])
        listed[:] = [
            msgspec.structs.replace(finding, message=f"{finding.message} {mask(sentence)}") for finding in listed
        ]

    def merge(self, later: Findings) -> None:
        """Adds the findings of later lines. The two may have no line with errors in common except line 1."""
        for code, count in later.counts.items():
            self.counts[code] = self.counts.get(code, 0) + count
        for code, listed in later._listed.items():
            own = self._listed.setdefault(code, [])
            own.extend(listed[: self._listed_per_code - len(own)])
        self._error_lines_merged += len(later._error_lines - {1})
        self._error_lines |= later._error_lines & {1}

    def full(self) -> frozenset[str]:
        """The codes that reached the limit of listed findings."""
        return frozenset([code for code, listed in self._listed.items() if len(listed) >= self._listed_per_code])

    @property
    def lines_with_errors(self) -> int:
        """The number of lines with at least one error."""
        return len(self._error_lines) + self._error_lines_merged

    def total(self, severity: str) -> int:
        """The exact number of findings of one severity."""
        return sum(count for code, count in self.counts.items() if CHECKS[code].severity == severity)

    def listed(self) -> list[Finding]:
        """The listed findings: errors, then warnings, then infos; within a severity by line, then by code."""
        listed = [finding for findings in self._listed.values() for finding in findings]
        return sorted(listed, key=lambda finding: (_ORDER[finding.severity], finding.line, finding.code))
