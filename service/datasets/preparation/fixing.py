"""Applies the chosen fixes: those of rows while the rows are read, then those of the whole file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from service.catalogue.tokens import ModelFacts
from service.datasets.parsing.formats import same_format
from service.datasets.preparation.changes import Changed, ChangeLog, Dropped, Refused
from service.datasets.preparation.fixes.kinds import NumberedFix
from service.datasets.preparation.fixes.registry import FILE_FIXES, REMOVING_FIXES, ROW_FIXES
from service.datasets.preparation.inputs import Unused
from service.datasets.preparation.refusals import Problems
from service.datasets.preparation.scratch import NumberedRow, Row, Rows, Workspace, encode
from service.datasets.report_schema import Format

_MAX_ROUNDS = 8


class Fixing:
    """The chosen fixes for the rows of one format, which is None where no format was recognised: nothing is fixed then.

    Changes and dropped rows are recorded in `log`, refused rows in `problems`, and removed values in `unused`.
    """

    def __init__(
        self,
        format: Format | None,
        fixes: Iterable[str],
        model: ModelFacts,
        log: ChangeLog,
        problems: Problems,
        unused: Unused,
        unit: str,
    ) -> None:
        self._format = format
        self._row_fixes = [(name, fix) for name, fix in ROW_FIXES.items() if name in fixes]
        self._file_fixes = [(name, fix) for name, fix in FILE_FIXES.items() if name in fixes]
        self._model = model
        self._log = log
        self._problems = problems
        self._unused = unused
        self._unit = unit

    def rows(self, rows: Iterable[NumberedRow]) -> Iterator[NumberedRow]:
        """The rows after the fixes of rows, without those that are dropped or refused."""
        if self._format is None:
            yield from rows
            return
        for line, row in rows:
            fixed = self._row(line, row, self._format) if same_format(row, self._format) else row
            if fixed is not None:
                yield line, fixed

    def file(self, rows: Rows, workspace: Workspace) -> Rows:
        """The rows after the fixes of the whole file.

        For completion files they are repeated while they change something, in at most `_MAX_ROUNDS` rounds.
        """
        format = self._format
        if format is None:
            return rows
        for _ in range(_MAX_ROUNDS if format == "completion" else 1):
            before = self._log.counts.total()
            for name, make_fix in self._file_fixes:
                fix = make_fix(rows, format, self._model)
                if fix is not None:
                    rows = _replaced(rows, Rows(workspace, self._numbered(rows, format, name, fix)))
            if self._log.counts.total() == before:
                break
            if format == "completion":
                rows = _replaced(rows, Rows(workspace, self.rows(rows)))
        return rows

    def _row(self, line: int, row: Row, format: Format) -> Row | None:
        """The row after its fixes, which are applied until none of them changes anything; None if it is in no file."""
        changed = True
        while changed:
            changed = False
            for name, fix in self._row_fixes:
                fixed, reason = fix(row, format), None
                if isinstance(fixed, Changed):
                    fixed, reason = fixed
                if isinstance(fixed, Dropped):
                    self._log.dropped(name, line, row, fixed.reason)
                    return None
                if isinstance(fixed, Refused):
                    self._problems.add(f"{self._unit} {line}", fixed.reason)
                    return None
                if fixed is not row and encode(fixed) != encode(row):
                    self._log.changed(name, line, row, fixed, reason)
                    if name in REMOVING_FIXES:
                        self._unused.add_removed(row, fixed)
                    row, changed = fixed, True
        return row

    def _numbered(self, rows: Rows, format: Format, name: str, fix: NumberedFix) -> Iterator[NumberedRow]:
        for line, row in rows:
            fixed = fix(line, row) if same_format(row, format) else row
            if isinstance(fixed, Dropped):
                self._log.dropped(name, line, row, fixed.reason)
                continue
            if fixed != row:
                self._log.changed(name, line, row, fixed)
            yield line, fixed


def _replaced(old: Rows, new: Rows) -> Rows:
    old.close()
    return new
