"""Partial reports: `PartReader` makes the partial report of a block of lines, and `Part.merge` joins them.

Each block is read independently, in any process, and the parts are merged in the order of the file. Reading two blocks
as one gives the same part as reading each and merging, so a report does not depend on where blocks begin or on which
process reads them.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

from service.catalogue.tokens import ModelFacts, TokenCounter
from service.datasets.checks import DATASET_CHECKS
from service.datasets.checks.registry import DatasetCheck, Hit, row_checks
from service.datasets.checks.tools import forget_schemas
from service.datasets.encodings.scan import foreign_part
from service.datasets.parsing.decode import Fault
from service.datasets.parsing.fast_chat import FastChatRow, parse_fast_chat
from service.datasets.parsing.formats import Example, read_example, row_format, same_format, traits
from service.datasets.parsing.lines import Block, lines_of
from service.datasets.parsing.open_records import OpenRecords
from service.datasets.parsing.rows import Row, Rows, as_object, read_rows
from service.datasets.report.accounting import accounting_for
from service.datasets.report.findings import Findings
from service.datasets.report.profiler import Profiler, Seconds, add_seconds, eager, timed
from service.datasets.report.text_checks import TextScanner
from service.datasets.report.token_totals import TokenTotals
from service.datasets.report_schema import Format
from service.datasets.shapes import shape_of
from service.processes.guard import guarded

_MAX_ITEM_FIELDS = 1_000
_SAMPLE_CHARS = 2_000

MAX_BLOCK_SECONDS = 120.0
"""Processor time for one block: a megabyte of lines, or one line of up to 16 MB. Honest ones take under 10 s."""

BLOCK_SECONDS = 5.0
BLOCK_SECONDS_PER_MEGABYTE = 2.0
"""The processor time for the checks of a block's rows. Rows full of tool calls take 0.2 seconds a megabyte."""


class Part:
    """The findings and figures of consecutive lines.

    `lines` counts the lines that are not blank, `examples` the lines that hold a JSON object. `end` is the offset of
    the first byte after the lines. `crlf` is the first line that ends with CR LF. `sample` is a text with its token
    count, for checking the fast counter. `seconds` is the CPU time of each step, if it was measured. `foreign` are
    words of the first lines that are not UTF-8, of as many lines as are listed.
    """

    def __init__(self, format: Format | None, listed_per_code: int, full: frozenset[str] = frozenset()) -> None:
        self.listed_per_code = listed_per_code
        self.findings = Findings(listed_per_code, full)
        self.totals = TokenTotals()
        self.checks: list[DatasetCheck] = [make() for formats, make in DATASET_CHECKS if format in formats]
        self.lines = 0
        self.examples = 0
        self.end = 0
        self.item_fields: Counter[str] = Counter()
        self.crlf: int | None = None
        self.open_records = OpenRecords()
        self.sample: tuple[str, int] | None = None
        self.seconds: Seconds = {}
        self.foreign: list[bytes] = []

    def merge(self, later: Part) -> None:
        """Adds the part of the lines that follow."""
        for line, fault in self.open_records.followed_by(later.open_records):
            _add_fault(line, fault, self.findings)
        self.findings.merge(later.findings)
        self.totals.merge(later.totals)
        for check, later_check in zip(self.checks, later.checks, strict=True):
            check.merge(later_check)
        self.lines += later.lines
        self.examples += later.examples
        self.end = later.end
        for field, count in later.item_fields.items():
            if field in self.item_fields or len(self.item_fields) < _MAX_ITEM_FIELDS:
                self.item_fields[field] += count
        self.crlf = self.crlf or later.crlf
        self.foreign = [*self.foreign, *later.foreign][: self.listed_per_code]
        add_seconds(self.seconds, later.seconds)


class Task(NamedTuple):
    """A block to read. It has no data if the reader opens the file itself. Codes in `full` need no listed findings."""

    block: Block
    full: frozenset[str]


class PartReader:
    """Reads the blocks of one file. State that it keeps between blocks is only a cache."""

    def __init__(
        self,
        *,
        format: Format | None,
        model: ModelFacts,
        counter: TokenCounter | None,
        listed_per_code: int,
        max_line_bytes: int,
        file: BinaryIO | None = None,
        profiler: Profiler | None = None,
    ) -> None:
        forget_schemas()
        self._format = format
        self._listed_per_code = listed_per_code
        self._max_line_bytes = max_line_bytes
        self._file = file
        self._profiler = profiler
        self._row_checks = [
            (check.code, check.needs, timed(profiler, check.code, eager(check.on_row)))
            for check in (row_checks(format) if format else ())
            if check.on_row is not None
        ]
        accounting = accounting_for(model, counter)
        self._count = timed(profiler, "counting tokens", accounting.count)
        self._add_tokens = timed(profiler, "adding up tokens", accounting.add)
        self._read_rows = timed(profiler, "reading lines and JSON", read_rows)
        self._read_examples = timed(profiler, "reading examples", self._examples)
        self._scan_texts = timed(profiler, "searching texts", TextScanner(profiler).scan)

    def read(self, task: Task) -> Part:
        """Reads one block and returns its part. Raises only `LimitReached` for the block's content."""
        with guarded(f"the lines from line {task.block.number:,} on", cpu_seconds=MAX_BLOCK_SECONDS):
            return self._read(task)

    def _read(self, task: Task) -> Part:
        part = Part(self._format, self._listed_per_code, task.full)
        block = task.block if self._file is None else task.block.with_data(self._file)
        part.end = block.end
        rows = self._read_rows(block, max_line_bytes=self._max_line_bytes, fast_chat=self._format == "chat")
        _add_line_findings(rows, part)
        if "not_utf8" in part.findings.counts and "not_utf8" not in task.full:
            parts = (foreign_part(line.data) for line in lines_of(block, max_line_bytes=self._max_line_bytes))
            part.foreign = list(islice(filter(None, parts), self._listed_per_code))
        seconds = BLOCK_SECONDS + BLOCK_SECONDS_PER_MEGABYTE * len(block.data) / 1_000_000
        with guarded("the checks of rows", cpu_seconds=seconds):
            example_rows, examples = self._read_examples(rows, part, seconds)
        self._scan_texts(example_rows, examples, part.findings)
        for check in part.checks:
            timed(self._profiler, type(check).__name__, check.add)(examples)
        counts = self._count(examples)
        self._add_tokens(examples, counts, part.totals, part.findings)
        part.sample = _sample(examples, counts)
        if self._profiler is not None:
            part.seconds = self._profiler.take_seconds()
        return part

    def _examples(self, rows: Rows, part: Part, seconds: float) -> tuple[list[Row], list[Example]]:
        """The rows of the file's format, and the example of each. Runs the row checks on all but fast chat rows."""
        expected = self._format
        example_rows: list[Row] = []
        examples: list[Example] = []
        part.examples += len(rows.rows)
        for row in rows.rows:
            example = parse_fast_chat(row.number, row.value) if isinstance(row.value, FastChatRow) else None
            if example is None:
                value = as_object(row)
                if expected is None or not same_format(value, expected):
                    _add_format_finding(row.number, value, expected, part.findings)
                    continue
                row_traits = traits(value)
                with guarded(f"line {row.number}", cpu_seconds=seconds):
                    for code, needs, find in self._row_checks:
                        if not needs or not needs.isdisjoint(row_traits):
                            part.findings.add_all(code, row.number, find(value))
                example = read_example(row.number, value, expected)
            example_rows.append(row)
            examples.append(example)
        if expected == "reinforcement":
            for example in examples:
                part.item_fields.update(example.row.keys())
        return example_rows, examples


def _add_line_findings(rows: Rows, part: Part) -> None:
    findings = part.findings
    faulty = {number for number, _ in rows.faults} | {line for line, _, _ in rows.open_records.leading}
    part.lines += len(rows.rows) + len(rows.too_long) + len(faulty)
    part.crlf = rows.crlf
    part.open_records = rows.open_records
    for number in rows.blank:
        findings.add("blank_line", number, Hit("", "", "This line is blank and is skipped."))
    for line in rows.too_long:
        message = f"This line has {line.length_bytes:,} bytes, which is over the limit for a line; it was not read."
        findings.add("line_too_long", line.number, Hit("", line.data, message))
    for number, fault in rows.faults:
        _add_fault(number, fault, findings)


def _add_fault(line: int, fault: Fault, findings: Findings) -> None:
    findings.add(fault.code, line, Hit(fault.pointer, fault.value, fault.message, fault.at))


def _add_format_finding(line: int, row: dict[str, Any], expected: Format | None, findings: Findings) -> None:
    found = row_format(row)
    if found is None and (shape := shape_of(row)) is not None:
        message = (
            f"This row has the shape of {shape.title} ({shape.keys}), but most rows of the file do not; put the "
            "rows of this shape into a file of their own."
        )
        findings.add("unknown_format", line, Hit("", row, message))
    elif found is None:
        keys = ", ".join(repr(key[:40]) for key in list(row)[:5]) or "no keys"
        message = f'This row ({keys}) has no known format; a chat row is {{"messages": [...]}}.'
        findings.add("unknown_format", line, Hit("", row, message))
    else:
        others = f"the file has format {expected}" if expected else "the rows before it have no known format"
        message = f"This row has format {found}, but {others}; put it into a file of its own."
        findings.add("mixed_formats", line, Hit("", row, message))


def _sample(examples: list[Example], counts: list[list[int]]) -> tuple[str, int] | None:
    for example, tokens in zip(examples, counts, strict=True):
        for text, number in zip(example.texts, tokens, strict=True):
            if len(text) <= _SAMPLE_CHARS:
                return text, number
    return None
