"""Runs the checks of texts and answers over a batch of examples, after a quick search for candidates.

Most texts contain nothing that a text check finds. So the raw bytes of many rows are searched at once for each check's
pattern, and the check runs only on the texts of matching rows. A row's bytes contain its texts unchanged, apart from
JSON's escape sequences. If a row escapes more than line breaks, tabs, quotes and backslashes, its decoded texts are
searched instead of its bytes.
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


def _checks_by_search() -> list[tuple[Search, list[Check]]]:
    """The text checks, with one search for those that have the same pattern."""
    found: dict[bytes, tuple[Search, list[Check]]] = {}
    for check in CHECKS.values():
        if check.pattern is not None:
            new: tuple[Search, list[Check]] = Search(check.pattern, for_re=check.pattern_for_re), []
            found.setdefault(check.pattern, new)[1].append(check)
    return list(found.values())


_CHECKS_BY_SEARCH = _checks_by_search()


def compile_searches() -> None:
    """Compile the patterns of all text checks, before processes are forked or before the first file."""
    _OTHER_ESCAPE.compile()
    for search, _ in _CHECKS_BY_SEARCH:
        search.compile()


class _Searchable(NamedTuple):
    """The bytes of some rows, each followed by a line feed, and the end offset of each row."""

    data: bytes
    ends: list[int]

    def matching_rows(self, search: Search) -> list[int]:
        return sorted({bisect_left(self.ends, end) for end in search.ends(self.data)})


class _Batch(NamedTuple):
    """A batch of examples. `answers` holds each non-empty text that the model learns to generate, as (example index,
    text index, text)."""

    examples: Sequence[Example]
    searchable: _Searchable
    answers: list[tuple[int, int, str]]


class TextScanner:
    """Runs all text and answer checks on batches of examples, which must come in the order of the file."""

    def __init__(self, profiler: Profiler | None = None) -> None:
        self._steps: list[Callable[[_Batch, Findings], None]] = [
            timed(profiler, ", ".join(check.code for check in checks), partial(_run_pattern_checks, search, checks))
            for search, checks in _CHECKS_BY_SEARCH
        ]
        self._steps += [
            timed(profiler, check.code, partial(_run_answer_check, check))
            for check in CHECKS.values()
            if check.scope == "answer"
        ]

    def scan(self, rows: Sequence[Row], examples: Sequence[Example], findings: Findings) -> None:
        """Adds the findings of a batch. `rows` and `examples` correspond one to one."""
        answers = [
            (number, at, example.texts[at])
            for number, example in enumerate(examples)
            for at in example.layout.answers
            if example.texts[at]
        ]
        batch = _Batch(examples, _searchable(rows, examples), answers)
        for step in self._steps:
            step(batch, findings)


def _searchable(rows: Sequence[Row], examples: Sequence[Example]) -> _Searchable:
    """Bytes that contain every row's texts without escapes other than of line breaks, tabs, quotes and backslashes."""
    parts = [row.data for row in rows]
    raw = _joined(parts)
    to_decode = {number for number, row in enumerate(rows) if not row.as_written}
    to_decode.update(raw.matching_rows(_OTHER_ESCAPE))
    for number in to_decode:
        parts[number] = "\n".join(examples[number].texts).encode("utf-8", "replace")
    return _joined(parts) if to_decode else raw


def _joined(parts: Sequence[bytes]) -> _Searchable:
    return _Searchable(b"\n".join([*parts, b""]), list(accumulate([len(part) + 1 for part in parts])))


def _run_pattern_checks(search: Search, checks: Sequence[Check], batch: _Batch, findings: Findings) -> None:
    """Runs checks on all texts of the rows that match their pattern."""
    texts = [
        (number, at)
        for number in batch.searchable.matching_rows(search)
        for at, _ in enumerate(batch.examples[number].texts)
    ]
    for check in checks:
        _run(check, texts, batch, findings)


def _run_answer_check(check: Check, batch: _Batch, findings: Findings) -> None:
    """Runs a check on the trained texts that pass its prefilter."""
    prefilter = check.prefilter
    texts = [(number, at) for number, at, text in batch.answers if prefilter is None or prefilter(text)]
    _run(check, texts, batch, findings)


def _run(check: Check, texts: Iterable[tuple[int, int]], batch: _Batch, findings: Findings) -> None:
    """Runs a check on texts, each given by its example's index and its own index in the example."""
    find = check.on_text
    if find is None:
        return
    for number, at in texts:
        example = batch.examples[number]
        for hit in find(example.texts[at]):
            findings.add(check.code, example.line, hit._replace(pointer=example.layout.pointers[at]))
