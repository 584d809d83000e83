"""The dataset report: one pass over a file's bytes, every finding at once.

The pass reads lines, decodes each, runs the checks and collects figures, batch by batch. The tokens of a batch are
counted in one helper thread while the next batch is read (tokenizers let go of the GIL); nothing else runs beside it.
Memory is bounded by the batch, by a few numbers per example, and by the listed findings, whatever the file's size.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import Any

from service.datasets.accounting import Accounting
from service.datasets.checks import DATASET_CHECKS
from service.datasets.checks.file import MIN_EXAMPLES, RECOMMENDED_EXAMPLES, sniff
from service.datasets.checks.registry import Check, Hit, row_checks
from service.datasets.decode import decode_line
from service.datasets.epochs import default_epochs, epochs_reason
from service.datasets.findings import Findings
from service.datasets.formats import (
    Example,
    file_format,
    read_example,
    read_plain_chat,
    row_format,
    same_format,
)
from service.datasets.lines import Line, read_lines
from service.datasets.report_schema import Amount, Cookbook, FileReport, Format, PriceLine, Tokens
from service.datasets.statistics import distribution, histogram, spread
from service.datasets.texts import TextScanner
from service.datasets.tokens import ModelFacts, ModelPrice, counter

MAX_LINE_BYTES = 16 << 20
BATCH_EXAMPLES = 256
BATCH_BYTES = 1 << 20
_BATCHES_AHEAD = 2
_HEAD_LINES = 5
_MAX_ITEM_FIELDS = 1_000
_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n\x0b\x0c"
_Row = tuple[int, dict[str, Any]]


def build_report(
    chunks: Iterable[bytes],
    *,
    file_id: str,
    model: ModelFacts,
    prices: Sequence[ModelPrice],
    progress: Callable[[int], None] | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
    listed_per_code: int = 100,
    max_file_bytes: int | None = None,
) -> FileReport:
    """Reads a whole file and reports on it. Never raises for what the bytes are.

    `chunks` are the file's bytes in pieces of any size; `progress` is called with the bytes read, about once a
    megabyte. `prices` are listed for the default epochs, with the token counts of `model`. Raises EncodingDamaged,
    and KeyError for an encoding that is not shipped.
    """
    reading = _Pass(model, listed_per_code)
    bytes_total = reading.read(chunks, max_line_bytes=max_line_bytes, progress=progress)
    findings = reading.findings
    if max_file_bytes is not None and bytes_total > max_file_bytes:
        message = f"The file has {bytes_total:,} bytes; the limit is {max_file_bytes:,}. Split it or shorten it."
        findings.add("file_too_large", 1, Hit("", "", message))
    examples, sums = reading.examples, reading.sums
    epochs = default_epochs(examples)
    billable = sums.billable * epochs
    countable = reading.format in ("chat", "reinforcement")
    return FileReport(
        file_id=file_id,
        status="ready",
        progress=1.0,
        model=model.name,
        max_tokens=model.max_tokens,
        format=reading.format,
        bytes=bytes_total,
        examples=examples,
        lines_with_errors=findings.lines_with_errors,
        tokens=Tokens(
            encoding=model.encoding,
            total=sums.total,
            trained=sums.trained,
            definitions=sums.definitions,
            per_example=distribution(sums.per_example),
            histogram=histogram(sums.per_example),
        ),
        tokens_over_limit=sums.tokens_over_limit,
        examples_over_limit=sums.examples_over_limit,
        answers_cut_off=sums.answers_cut_off,
        default_epochs=epochs,
        epochs_reason=epochs_reason(examples),
        billable_tokens_per_epoch=sums.billable,
        billable_tokens=billable,
        cookbook=Cookbook(
            tokens=sums.cookbook_billable,
            n_epochs=epochs,
            billed_tokens=sums.cookbook_billable * epochs,
            per_example=spread(sums.cookbook_per_example),
            uncountable_examples=sums.uncountable,
        )
        if countable
        else None,
        prices=[price_line(price, billable) for price in prices],
        errors=findings.total("error"),
        warnings=findings.total("warning"),
        infos=findings.total("info"),
        counts=dict(sorted(findings.counts.items())),
        findings=findings.listed(),
        item_fields=dict(sorted(reading.item_fields.items())) if reading.format == "reinforcement" else {},
        notes=reading.notes(),
    )


def first_errors(report: FileReport, limit: int = 5) -> str:
    """The report's first errors in one readable line, for `status_details` and `error.message`; "" without errors."""
    if not report.errors:
        return ""
    shown = [finding for finding in report.findings if finding.severity == "error"][:limit]
    text = "; ".join(f"line {finding.line}: {finding.message.rstrip('.')}" for finding in shown)
    more = f" ({report.errors:,} errors in all)" if report.errors > len(shown) else ""
    return f"{text}{more}."


def price_line(price: ModelPrice, tokens: int) -> PriceLine:
    """What `tokens` cost by one price, to the micro-dollar, halves up."""
    amount = None
    if price.micros_per_million_tokens is not None:
        micros = (tokens * price.micros_per_million_tokens + 500_000) // 1_000_000
        amount = Amount(value=micros / 1_000_000)
    return PriceLine(model=price.model, price=amount, shutdown_date=price.shutdown_date)


class _Pass:
    """The state of one pass. `read` is its story; what it leaves are figures and findings."""

    def __init__(self, model: ModelFacts, listed_per_code: int) -> None:
        self.findings = Findings(listed_per_code)
        self.format: Format | None = None
        self.examples = 0
        self.item_fields: Counter[str] = Counter()
        self._counter = counter(model.encoding)
        self.sums = Accounting(model, self._counter, self.findings)
        self._scanner = TextScanner(self.findings)
        self._whole_file = [(formats, make()) for formats, make in DATASET_CHECKS]
        self._row_checks: list[Check] = []
        self._crlf_seen = False
        self._bytes = 0

    def read(self, chunks: Iterable[bytes], *, max_line_bytes: int, progress: Callable[[int], None] | None) -> int:
        """Reads everything; returns the number of bytes."""
        raw_lines = read_lines(self._measured(chunks), max_line_bytes=max_line_bytes, progress=progress)
        lines = self._with_content(raw_lines)
        head = list(islice(lines, _HEAD_LINES))
        other_kind = sniff([line.data for line in head])
        if other_kind is not None:
            self.findings.add(other_kind[0], head[0].number, other_kind[1])
            deque(raw_lines, maxlen=0)
        elif head:
            self._read_rows(chain(head, lines))
            self._count_examples()
        else:
            self.findings.add("file_empty", 1, Hit("", "", "The file is empty; it needs one JSON object on each line."))
        for _, check in self._whole_file:
            for found in check.finish():
                self.findings.add(found.code, found.line, found.hit)
        return self._bytes

    def notes(self) -> list[str]:
        """What was estimated or sampled, in words."""
        notes = [note for _, check in self._whole_file for note in check.notes()]
        if self.sums.images:
            notes.append(f"{self.sums.images:,} images are counted by an estimate (85 tokens in low detail, else 765).")
        if self.sums.definitions:
            notes.append("The tokens of tool definitions and calls are an estimate by the rule of OpenAI's cookbook.")
        return notes

    def _measured(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._bytes += len(chunk)
            yield chunk

    def _with_content(self, lines: Iterable[Line]) -> Iterator[Line]:
        """The lines with something in them, without byte order mark; notes blank lines and CRLF."""
        for line in lines:
            number, offset, data, length_bytes, too_long = line
            if number == 1 and data.startswith(_BOM):
                self.findings.add("byte_order_mark", 1, Hit("", "", "Remove the byte order mark at the file's start."))
                data = data[len(_BOM) :]
                line = Line(1, offset + len(_BOM), data, length_bytes, too_long)
            if data.endswith(b"\r") and not self._crlf_seen and not too_long:
                self._crlf_seen = True
                self.findings.add("crlf", number, Hit("", "", "Lines end with CR LF; this is fine."))
            if not too_long and not data.strip(_BLANK):
                self.findings.add("blank_line", number, Hit("", "", "This line is blank and is skipped."))
                continue
            yield line

    def _read_rows(self, lines: Iterable[Line]) -> None:
        with ThreadPoolExecutor(1, thread_name_prefix="tokens") as helper:
            counting: deque[tuple[list[Example], list[str], Future[Sequence[int]]]] = deque()
            for rows in self._batches(lines):
                examples = self._examples(rows)
                texts = self.sums.texts_of(examples)
                counting.append((examples, texts, helper.submit(self._counter.count_all, texts)))
                self._inspect(examples)
                while len(counting) > _BATCHES_AHEAD:
                    self._settle(*counting.popleft())
            while counting:
                self._settle(*counting.popleft())

    def _settle(self, examples: list[Example], texts: list[str], counts: Future[Sequence[int]]) -> None:
        self.sums.add(examples, texts, counts.result())

    def _batches(self, lines: Iterable[Line]) -> Iterator[list[_Row]]:
        """Decoded rows, a batch at a time; the faults of lines go straight to the findings."""
        rows: list[_Row] = []
        size_bytes = 0
        for number, offset, data, length_bytes, too_long in lines:
            if too_long:
                message = f"This line has {length_bytes:,} bytes, over the limit for a line; it was not read."
                self.findings.add("line_too_long", number, Hit("", data, message))
                continue
            row, faults = decode_line(data, offset)
            for fault in faults:
                self.findings.add(fault.code, number, Hit(fault.pointer, fault.value, fault.message, fault.at))
            if row is None:
                continue
            rows.append((number, row))
            size_bytes += length_bytes
            if len(rows) >= BATCH_EXAMPLES or size_bytes >= BATCH_BYTES:
                yield rows
                rows, size_bytes = [], 0
        if rows:
            yield rows

    def _examples(self, rows: list[_Row]) -> list[Example]:
        """Examples of the rows in the file's format, which the first batch decides; runs the checks of rows."""
        self.examples += len(rows)
        if self.format is None:
            self.format = file_format(row for _, row in rows)
            self._row_checks = row_checks(self.format) if self.format else []
        expected, examples = self.format, []
        for line, row in rows:
            example = read_plain_chat(line, row) if expected == "chat" else None
            if example is None:
                if expected is None or not same_format(row, expected):
                    self._add_foreign(line, row, expected)
                    continue
                for check in self._row_checks:
                    if check.on_row is not None:
                        self.findings.add_all(check.code, line, check.on_row(row))
                example = read_example(line, row, expected)
            examples.append(example)
        if expected == "reinforcement":
            for example in examples:
                if len(self.item_fields) < _MAX_ITEM_FIELDS:
                    self.item_fields.update(example.row.keys())
        return examples

    def _add_foreign(self, line: int, row: dict[str, Any], expected: Format | None) -> None:
        found = row_format(row)
        if found is None:
            keys = ", ".join(repr(key[:40]) for key in list(row)[:5]) or "no keys"
            message = f'This row ({keys}) is of no known format; a chat row is {{"messages": [...]}}.'
            self.findings.add("unknown_format", line, Hit("", row, message))
        else:
            message = f"This row is of format {found}, the file of format {expected}; put it into a file of its own."
            self.findings.add("mixed_formats", line, Hit("", row, message))

    def _inspect(self, examples: list[Example]) -> None:
        self._scanner.scan(examples)
        for formats, check in self._whole_file:
            if self.format in formats:
                check.see(examples)

    def _count_examples(self) -> None:
        if self.examples < MIN_EXAMPLES:
            message = f"{self.examples} examples; a training job needs at least {MIN_EXAMPLES}. Add more."
            self.findings.add("too_few_examples", 1, Hit("", "", message))
        elif self.examples < RECOMMENDED_EXAMPLES:
            message = f"{self.examples} examples are few; improvements usually show from {RECOMMENDED_EXAMPLES} to 100."
            self.findings.add("few_examples", 1, Hit("", "", message))
