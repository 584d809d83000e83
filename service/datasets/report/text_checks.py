"""Runs the checks of texts and answers over a batch, and looks closely only where something may be.

Most texts hold nothing that a check of texts looks for. So the bytes of many rows are searched at once, as they stand
in the file, for each check's pattern, and only the texts of a row that has it are given to the check. A text stands in
its row's bytes as it is but for what JSON escapes; a row that spells anything but line breaks, tabs, quotes and
backslashes by an escape is searched as its texts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

from service.datasets.checks import CHECKS
from service.datasets.checks.registry import Check
from service.datasets.parsing.formats import Example
from service.datasets.parsing.pattern_search import Search
from service.datasets.parsing.rows import Row
from service.datasets.report.findings import Findings
from service.datasets.report.profiler import Profiler, timed

_OTHER_ESCAPE = Search(rb"\\[u/bf]")


class _Searchable(NamedTuple):
    """The bytes of some rows, each with a line feed at its end, and where each ends."""

    data: bytes
    ends: list[int]

    def rows_with(self, search: Search) -> list[int]:
        return sorted({bisect_left(self.ends, end) for end in search.ends(self.data)})


class _Batch(NamedTuple):
    """Some examples. `answers` are the trained texts, none empty, each with its example's place and its own in that."""

    examples: Sequence[Example]
    searchable: _Searchable
    answers: list[tuple[int, int, str]]


class TextScanner:
    """Takes batches of examples, in order."""

    def __init__(self, profiler: Profiler | None = None) -> None:
        by_pattern: dict[bytes, list[Check]] = {}
        for check in CHECKS.values():
            if check.pattern is not None:
                by_pattern.setdefault(check.pattern, []).append(check)
        self._steps: list[Callable[[_Batch, Findings], None]] = [
            timed(
                profiler,
                ", ".join(check.code for check in checks),
                partial(_run_pattern_checks, Search(pattern), checks),
            )
            for pattern, checks in by_pattern.items()
        ]
        self._steps += [
            timed(profiler, check.code, partial(_run_answer_check, check))
            for check in CHECKS.values()
            if check.scope == "answer"
        ]

    def scan(self, rows: Sequence[Row], examples: Sequence[Example], findings: Findings) -> None:
        """Adds what the checks of texts and answers find in a batch: the examples, each with the row that it is of."""
        answers = [
            (place, at, example.texts[at])
            for place, example in enumerate(examples)
            for at in example.layout.trained
            if example.texts[at]
        ]
        batch = _Batch(examples, _searchable(rows, examples), answers)
        for step in self._steps:
            step(batch, findings)


def _searchable(rows: Sequence[Row], examples: Sequence[Example]) -> _Searchable:
    """Bytes in which the texts of every row stand as they are, line breaks, tabs, quotes and backslashes aside."""
    parts = [row.data for row in rows]
    written = _joined(parts)
    others = {place for place, row in enumerate(rows) if not row.as_written}
    others.update(written.rows_with(_OTHER_ESCAPE))
    for place in others:
        parts[place] = "\n".join(examples[place].texts).encode("utf-8", "replace")
    return _joined(parts) if others else written


def _joined(parts: Sequence[bytes]) -> _Searchable:
    return _Searchable(b"\n".join([*parts, b""]), list(accumulate([len(part) + 1 for part in parts])))


def _run_pattern_checks(search: Search, checks: Sequence[Check], batch: _Batch, findings: Findings) -> None:
    """Gives checks the texts of the rows that have their pattern."""
    places = [
        (place, at) for place in batch.searchable.rows_with(search) for at, _ in enumerate(batch.examples[place].texts)
    ]
    for check in checks:
        _run(check, places, batch, findings)


def _run_answer_check(check: Check, batch: _Batch, findings: Findings) -> None:
    """Gives a check the trained texts at which a prefilter finds something."""
    prefilter = check.prefilter
    places = [(place, at) for place, at, text in batch.answers if prefilter is None or prefilter(text)]
    _run(check, places, batch, findings)


def _run(check: Check, places: Iterable[tuple[int, int]], batch: _Batch, findings: Findings) -> None:
    find = check.on_text
    if find is None:
        return
    for place, at in places:
        example = batch.examples[place]
        for hit in find(example.texts[at]):
            findings.add(check.code, example.line, hit._replace(pointer=example.layout.pointers[at]))
