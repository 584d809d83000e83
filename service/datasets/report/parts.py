"""What is found in a block of lines, and how the blocks of a file add up.

A block is read by itself, in any process; `Part.merge` puts the parts together in the order of the file. A part of two
blocks is the same as the two parts merged, so a report does not depend on where blocks begin or who reads them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, BinaryIO, NamedTuple

from service.catalogue.tokens import ModelFacts, TokenCounter
from service.datasets.checks import DATASET_CHECKS
from service.datasets.checks.registry import DatasetCheck, Hit, row_checks
from service.datasets.parsing.fast_chat import FastChatRow, parse_fast_chat
from service.datasets.parsing.formats import Example, read_example, row_format, same_format, traits
from service.datasets.parsing.lines import Block
from service.datasets.parsing.rows import Row, Rows, as_object, read_rows
from service.datasets.report.findings import Findings
from service.datasets.report.profiler import Profiler, timed, whole
from service.datasets.report.text_checks import TextScanner
from service.datasets.report.token_accounting import TokenAccounting, TokenTotals
from service.datasets.report_schema import Format

_MAX_ITEM_FIELDS = 1_000
_SAMPLE_CHARS = 2_000


class Part:
    """The findings and figures of some lines that follow each other.

    `lines` counts those with something in them, `examples` those that hold an object. `end` is the first byte after
    them. `sample` is a text with its count of tokens, by which the fast counter is checked.
    """

    def __init__(self, format: Format | None, listed_per_code: int, full: frozenset[str] = frozenset()) -> None:
        self.findings = Findings(listed_per_code, full)
        self.sums = TokenTotals()
        self.checks: list[DatasetCheck] = [make() for formats, make in DATASET_CHECKS if format in formats]
        self.lines = 0
        self.examples = 0
        self.end = 0
        self.item_fields: Counter[str] = Counter()
        self.crlf: int | None = None
        self.sample: tuple[str, int] | None = None
        self.seconds: Counter[str] = Counter()

    def merge(self, later: Part) -> None:
        """Adds the lines that follow."""
        self.findings.merge(later.findings)
        self.sums.merge(later.sums)
        for check, after in zip(self.checks, later.checks, strict=True):
            check.merge(after)
        self.lines += later.lines
        self.examples += later.examples
        self.end = later.end
        for field, count in later.item_fields.items():
            if field in self.item_fields or len(self.item_fields) < _MAX_ITEM_FIELDS:
                self.item_fields[field] += count
        self.crlf = self.crlf or later.crlf
        self.seconds.update(later.seconds)


class Task(NamedTuple):
    """A block to read, emptied if the reader has the file; no findings are listed for the codes in `full`."""

    block: Block
    full: frozenset[str]


class PartReader:
    """Reads blocks of one file. What it keeps from block to block only saves time."""

    def __init__(
        self,
        *,
        format: Format | None,
        model: ModelFacts,
        counter: TokenCounter,
        listed_per_code: int,
        max_line_bytes: int,
        file: BinaryIO | None = None,
        profiler: Profiler | None = None,
    ) -> None:
        self._format = format
        self._listed_per_code = listed_per_code
        self._max_line_bytes = max_line_bytes
        self._file = file
        self._profiler = profiler
        self._row_checks = [
            (check.code, check.needs, timed(profiler, check.code, whole(check.on_row)))
            for check in (row_checks(format) if format else ())
            if check.on_row is not None
        ]
        accounting = TokenAccounting(model, counter)
        self._count = timed(profiler, "counting tokens", accounting.count)
        self._account = timed(profiler, "adding up tokens", accounting.add)
        self._read_rows = timed(profiler, "reading lines and JSON", read_rows)
        self._read_examples = timed(profiler, "reading examples", self._examples)
        self._scan = timed(profiler, "finding texts to look at", TextScanner(profiler).scan)

    def read(self, task: Task) -> Part:
        """The part of one block. Never raises for what the bytes are."""
        part = Part(self._format, self._listed_per_code, task.full)
        block = task.block if self._file is None else task.block.with_data(self._file)
        part.end = block.end
        rows = self._read_rows(block, max_line_bytes=self._max_line_bytes, fast_chat=self._format == "chat")
        _add_line_findings(rows, part)
        kept, examples = self._read_examples(rows, part)
        self._scan(kept, examples, part.findings)
        for check in part.checks:
            timed(self._profiler, type(check).__name__, check.add)(examples)
        counts = self._count(examples)
        self._account(examples, counts, part.sums, part.findings)
        part.sample = _sample(examples, counts)
        if self._profiler is not None:
            part.seconds = self._profiler.take()
        return part

    def _examples(self, rows: Rows, part: Part) -> tuple[list[Row], list[Example]]:
        """The rows of the file's format and what was read of each; runs the checks of rows where one is not plain."""
        expected = self._format
        kept: list[Row] = []
        examples: list[Example] = []
        part.examples += len(rows.rows)
        for row in rows.rows:
            example = parse_fast_chat(row.number, row.value) if isinstance(row.value, FastChatRow) else None
            if example is None:
                value = as_object(row)
                if expected is None or not same_format(value, expected):
                    _add_format_finding(row.number, value, expected, part.findings)
                    continue
                found = traits(value)
                for code, needs, find in self._row_checks:
                    if not needs or not needs.isdisjoint(found):
                        part.findings.add_all(code, row.number, find(value))
                example = read_example(row.number, value, expected)
            kept.append(row)
            examples.append(example)
        if expected == "reinforcement":
            for example in examples:
                part.item_fields.update(example.row.keys())
        return kept, examples


def _add_line_findings(rows: Rows, part: Part) -> None:
    findings = part.findings
    part.lines += len(rows.rows) + len(rows.too_long) + len({number for number, _ in rows.faults})
    part.crlf = rows.crlf
    for number in rows.blank:
        findings.add("blank_line", number, Hit("", "", "This line is blank and is skipped."))
    for line in rows.too_long:
        message = f"This line has {line.length_bytes:,} bytes, over the limit for a line; it was not read."
        findings.add("line_too_long", line.number, Hit("", line.data, message))
    for number, fault in rows.faults:
        findings.add(fault.code, number, Hit(fault.pointer, fault.value, fault.message, fault.at))


def _add_format_finding(line: int, row: dict[str, Any], expected: Format | None, findings: Findings) -> None:
    found = row_format(row)
    if found is None:
        keys = ", ".join(repr(key[:40]) for key in list(row)[:5]) or "no keys"
        message = f'This row ({keys}) is of no known format; a chat row is {{"messages": [...]}}.'
        findings.add("unknown_format", line, Hit("", row, message))
    else:
        others = f"the file of format {expected}" if expected else "the rows before it of none that is known"
        message = f"This row is of format {found}, {others}; put it into a file of its own."
        findings.add("mixed_formats", line, Hit("", row, message))


def _sample(examples: list[Example], counts: list[list[int]]) -> tuple[str, int] | None:
    for example, tokens in zip(examples, counts, strict=True):
        for text, number in zip(example.texts, tokens, strict=True):
            if len(text) <= _SAMPLE_CHARS:
                return text, number
    return None
