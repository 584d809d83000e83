"""Collects findings: exact counts, the first hundred of each code listed, excerpts made for those alone."""

from __future__ import annotations

from collections.abc import Iterable

from service.datasets.checks import CHECKS
from service.datasets.checks.registry import Hit
from service.datasets.excerpts import excerpt, mask, mask_secrets
from service.datasets.report_schema import Finding

_ORDER = {"error": 0, "warning": 1, "info": 2}


class Findings:
    """Takes hits in any order of codes, in ascending lines per code; so the listed ones are the first."""

    def __init__(self, listed_per_code: int) -> None:
        self.counts: dict[str, int] = {}
        self.lines_with_errors = 0
        self._listed_per_code = listed_per_code
        self._listed: list[Finding] = []
        self._last_error_line = 0

    def add(self, code: str, line: int, hit: Hit) -> None:
        """Counts one hit, and lists it while its code has room."""
        seen = self.counts.get(code, 0)
        self.counts[code] = seen + 1
        check = CHECKS[code]
        if check.severity == "error" and line != self._last_error_line:
            self._last_error_line = line
            self.lines_with_errors += 1
        if seen < self._listed_per_code:
            self._listed.append(
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

    def total(self, severity: str) -> int:
        """Exact number of findings of one severity."""
        return sum(count for code, count in self.counts.items() if CHECKS[code].severity == severity)

    def listed(self) -> list[Finding]:
        """Errors first, then warnings, then notes; by line within each."""
        return sorted(self._listed, key=lambda finding: (_ORDER[finding.severity], finding.line))
