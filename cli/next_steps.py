"""The end of `tunegate check`: the commands that repair the file, and what they leave."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.text import Text

from cli.advice import in_options, prepare_command
from service.catalogue.base_models import BaseModel
from service.datasets.checks.registry import CHECKS
from service.datasets.preparation.changes import ChangeLog
from service.datasets.preparation.options import SAFE_FIXES, Options
from service.datasets.preparation.plan import Plan, make_plan
from service.datasets.preparation.refusals import PreparationRefused, Problems
from service.datasets.processes.report import pieces_of
from service.datasets.report_schema import FileReport
from service.processes.guard import LimitReached

_STOPPING = {
    "drop_unreadable": "Some rows cannot be read. Correct them, or +drop_unreadable leaves them out.",
    "drop_extra_columns": "Some rows have columns without a place. +drop_extra_columns removes them and their texts.",
}
"""Fixes that must be chosen, because a preparation stops at the findings without them."""
_NONE_READABLE = (
    "No row of the file can be read, so drop_unreadable would leave none. Correct the lines, or export the file again."
)
_JSON_FILES = frozenset({".jsonl", ".ndjson", ".json"})
"""Lines of other files that are not JSON can be texts, which a preparation reads."""
_SAMPLE_ROWS = 256
_SHOWN = 12
_OTHER_FILES = frozenset({"json_array_file", "table_file", "other_shape", "not_text_file"})
"""The codes of files whose rows are not checked before they are converted."""


TRIED = _OTHER_FILES | {"not_utf8"}
"""The codes of files that a preparation reads in a way that it has to guess."""


class Commands:
    """The commands for the findings of one report."""

    def __init__(self, file: Path, report: FileReport, *, model: str | None) -> None:
        self._file = file
        self._model = model
        self._report = report
        self._columns: str | None = None
        self._is_converted = not _OTHER_FILES.isdisjoint(report.counts)
        named = {CHECKS[code].fix for code in report.counts}
        self._always = [fix for fix in _STOPPING if fix in named and not self._is_converted]
        is_unread = file.suffix.lower() in _JSON_FILES and not report.examples and "reencode_utf8" not in named
        self._none_readable = is_unread and "drop_unreadable" in self._always
        self.problem: str | None = None
        """Why a preparation needs an option, such as columns or an encoding, and which."""

    def read_first_rows(self, model: BaseModel) -> None:
        """Finds out whether a preparation can read the file without options, and which columns of a table it uses."""
        try:
            plan = _plan(self._file, model)
        except PreparationRefused as error:
            self.problem = in_options(error.message)
            return
        except (LimitReached, OSError):
            return
        names = {} if plan.columns is None else {"prompt": plan.columns.prompt, "answer": plan.columns.answer}
        if names and "prompt_template" not in plan.guessed and not any("," in (name or "") for name in names.values()):
            self._columns = ",".join(f"{role}={name}" for role, name in names.items() if name is not None)

    def for_fix(self, fix: str) -> str:
        """The command that applies one fix, with all safe ones."""
        if self.problem is not None:
            return f"{fix}, with an option (see below)"
        if self._none_readable and fix == "drop_unreadable":
            return "correct the lines (see below)"
        if self._is_converted and fix in SAFE_FIXES:
            return prepare_command(self._file, columns=self._columns, model=self._model)
        return prepare_command(self._file, fixes=[fix, *self._always], columns=self._columns, model=self._model)

    def lines(self) -> Iterator[str]:
        """One command for all safe fixes, and what it leaves."""
        if self.problem is not None:
            yield self.problem
            return
        counts = {code: count for code, count in self._report.counts.items() if CHECKS[code].severity != "info"}
        if self._is_converted:
            yield "The rows are checked once they are converted; the preparation ends with a report on them."
            return
        if self._none_readable:
            yield _NONE_READABLE
            return
        yield from (_STOPPING[fix] for fix in self._always)
        if not self._always and not any(CHECKS[code].fix in SAFE_FIXES for code in counts):
            return
        yield f"All safe fixes{', and those' if self._always else ''}:"
        yield f"  {prepare_command(self._file, fixes=self._always, model=self._model)}"
        left = [
            f"{code} ({count:,}{f', +{fix}' if (fix := CHECKS[code].fix) else ''})"
            for code, count in counts.items()
            if CHECKS[code].fix not in SAFE_FIXES and CHECKS[code].fix not in self._always
        ]
        if left:
            more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
            yield f"Then remain: {', '.join(left[:_SHOWN])}{more}."


def show(commands: Commands, console: Console) -> None:
    """Prints the commands, each on one line, so that it can be pasted."""
    lines = list(commands.lines())
    for line in lines:
        console.print(Text(f"  {line}", style="green" if line.startswith(" ") else ""), soft_wrap=True)
    if lines:
        console.print()


def _plan(file: Path, model: BaseModel) -> Plan:
    """How a preparation with the safe fixes reads the file, from its first rows."""
    from service.datasets.preparation.readers.source import open_source  # imports all readers; few files need them

    options = Options(fixes=tuple(SAFE_FIXES))
    log = ChangeLog(io.BytesIO())
    problems = Problems(log, drop_unreadable=False)
    source = open_source(lambda: pieces_of(file), filename=file.name, options=options, log=log, problems=problems)
    sample = list(islice(source.rows, _SAMPLE_ROWS))
    return make_plan(source, sample, options, "completion" if model.formats == ("completion",) else "chat")
