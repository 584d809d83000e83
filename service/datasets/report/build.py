"""The dataset report: one pass over a file's bytes, every finding at once.

The file is read in blocks of whole lines. Each block is read, checked and counted by itself, in this process or in
several, and its part is merged into the whole in the file's order (`parts`); the report is the same either way.
Memory is bounded by a few blocks, by a few numbers per example, and by the listed findings, whatever the file's size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from service.catalogue.epochs import default_epochs, epochs_reason
from service.catalogue.tokenizer_check import TokenizerCheck
from service.catalogue.tokens import (
    CountsDiffer,
    ModelFacts,
    ModelPrice,
    fast_counter,
    fast_counter_is_installed,
    reference_counter,
)
from service.datasets.checks.file import MIN_EXAMPLES, RECOMMENDED_EXAMPLES
from service.datasets.checks.registry import Hit, LocatedHit
from service.datasets.parsing.lines import Block, read_blocks
from service.datasets.report.findings import Findings
from service.datasets.report.format_detection import detect_format
from service.datasets.report.parts import Part, PartReader, Task
from service.datasets.report.prices import price_lines
from service.datasets.report.process_pool import map_in_order
from service.datasets.report.profiler import Profiler, timed
from service.datasets.report_schema import Cookbook, FileReport, Format, Tokens
from service.datasets.statistics import cookbook_distribution, distribution, histogram

MAX_LINE_BYTES = 16 << 20
_FEW_EXAMPLES = 10_000
"""What can be said of so few at the end is said sooner than processes are forked for it."""


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
    processes: int = 1,
    quick: bool = False,
    path: Path | None = None,
    profiler: Profiler | None = None,
) -> FileReport:
    """Reads a whole file and reports on it. Never raises for what the bytes are.

    `chunks` are the file's bytes in pieces of any size; `progress` is called with the bytes that are done, at least
    once a megabyte and at the end. `prices` are listed for the default epochs, with the token counts of `model`. With
    `processes` over 1 so many are forked to share the work. `quick` counts with the fast counter, where there is one,
    and compares it with tiktoken; should they differ, `chunks` are read again from the start and counted by tiktoken.
    `path` says where on this disk the same bytes are, if they are there: the processes then read them by themselves.
    `profiler` learns what took how long. Raises EncodingDamaged, and KeyError for an encoding that is not shipped;
    CountsDiffer only where `chunks` is an iterator, which cannot be read again.
    """

    def read(*, quick: bool) -> _FileReader:
        whole = _FileReader(model, listed_per_code=listed_per_code, max_line_bytes=max_line_bytes, profiler=profiler)
        whole.read(chunks, path, processes=processes, quick=quick, progress=progress or _no_progress)
        return whole

    try:
        whole = read(quick=quick)
    except CountsDiffer:
        if iter(chunks) is chunks:
            raise
        whole = read(quick=False)
    part = whole.part
    if profiler is not None:
        profiler.seconds.update(part.seconds)
    findings = part.findings
    if max_file_bytes is not None and whole.bytes > max_file_bytes:
        message = f"The file has {whole.bytes:,} bytes; the limit is {max_file_bytes:,}. Split it or shorten it."
        findings.add("file_too_large", 1, Hit("", "", message))
    examples, sums = part.examples, part.sums
    per_example = Counter(sums.per_example)
    epochs = default_epochs(examples)
    billable = sums.billable * epochs
    countable = whole.format in ("chat", "reinforcement")
    return FileReport(
        file_id=file_id,
        status="ready",
        progress=1.0,
        model=model.name,
        max_tokens=model.max_tokens,
        format=whole.format,
        bytes=whole.bytes,
        examples=examples,
        lines_with_errors=findings.lines_with_errors,
        tokens=Tokens(
            encoding=model.encoding,
            total=sums.total,
            trained=sums.trained,
            definitions=sums.definitions,
            per_example=distribution(per_example),
            histogram=histogram(per_example),
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
            per_example=cookbook_distribution(Counter(sums.cookbook_per_example)),
            uncountable_examples=sums.uncountable,
        )
        if countable
        else None,
        prices=price_lines(whole.format, billable, prices),
        errors=findings.total("error"),
        warnings=findings.total("warning"),
        infos=findings.total("info"),
        counts=dict(sorted(findings.counts.items())),
        findings=findings.listed(),
        item_fields=dict(sorted(part.item_fields.items())),
        notes=_notes(part),
    )


def first_errors(report: FileReport, limit: int = 5) -> str:
    """The report's first errors in one readable line, for `status_details` and `error.message`; "" without errors."""
    if not report.errors:
        return ""
    shown = [finding for finding in report.findings if finding.severity == "error"][:limit]
    text = "; ".join(f"line {finding.line}: {finding.message.rstrip('.')}" for finding in shown)
    more = f" ({report.errors:,} errors in all)" if report.errors > len(shown) else ""
    return f"{text}{more}."


class _FileReader:
    """One reading of a file; what it leaves is the part that is all of it."""

    def __init__(
        self, model: ModelFacts, *, listed_per_code: int, max_line_bytes: int, profiler: Profiler | None
    ) -> None:
        self.bytes = 0
        self.format: Format | None = None
        self.part = Part(None, listed_per_code)
        self._model = model
        self._listed_per_code = listed_per_code
        self._max_line_bytes = max_line_bytes
        self._profiler = profiler

    def read(
        self,
        chunks: Iterable[bytes],
        path: Path | None,
        *,
        processes: int,
        quick: bool,
        progress: Callable[[int], None],
    ) -> None:
        blocks = read_blocks(self._measured(chunks), max_line_bytes=self._max_line_bytes)
        detection = detect_format(blocks, max_line_bytes=self._max_line_bytes)
        if detection.not_json_lines is None:
            self.format = detection.format
            self.part = Part(detection.format, self._listed_per_code)
            with nullcontext() if path is None or processes == 1 else path.open("rb") as file:
                self._read_parts(
                    chain(detection.blocks, blocks), file, processes=processes, quick=quick, progress=progress
                )
            timed(self._profiler, "findings of the whole file", self._finish)(processes)
        else:
            for block in blocks:
                progress(block.end)
            self.part.findings.add(*detection.not_json_lines)
        if detection.byte_order_mark:
            message = "Remove the byte order mark at the file's start."
            self.part.findings.add("byte_order_mark", 1, Hit("", "", message))
        progress(self.bytes)

    def _measured(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.bytes += len(chunk)
            yield chunk

    def _read_parts(
        self,
        blocks: Iterator[Block],
        file: BinaryIO | None,
        *,
        processes: int,
        quick: bool,
        progress: Callable[[int], None],
    ) -> None:
        tokenizer_check = (
            TokenizerCheck(self._model.encoding, in_subprocess=processes > 1)
            if quick and fast_counter_is_installed()
            else None
        )
        try:
            counter = fast_counter(self._model.encoding) if tokenizer_check is not None else None
            reader = PartReader(
                format=self.format,
                model=self._model,
                counter=counter or reference_counter(self._model.encoding),
                listed_per_code=self._listed_per_code,
                max_line_bytes=self._max_line_bytes,
                file=file,
                profiler=self._profiler,
            )
            tasks = (
                Task(block if file is None else block.without_data(), self.part.findings.full()) for block in blocks
            )
            with map_in_order(tasks, reader.read, processes=processes) as parts:
                if tokenizer_check is not None and counter is not None:
                    tokenizer_check.check_edge_cases(counter)
                for part in parts:
                    if tokenizer_check is not None and part.sample is not None:
                        tokenizer_check.compare(*part.sample)
                    self._merge(part)
                    progress(part.end)
            if tokenizer_check is not None:
                tokenizer_check.finish()
        finally:
            if tokenizer_check is not None:
                tokenizer_check.close()

    def _merge(self, part: Part) -> None:
        timed(self._profiler, "merging parts", self.part.merge)(part)

    def _finish(self, processes: int) -> None:
        """Adds what can be said at the end only."""
        part = self.part
        findings = part.findings
        if part.crlf is not None:
            findings.add("crlf", part.crlf, Hit("", "", "Lines end with CR LF; this is fine."))
        if not part.lines:
            findings.add("file_empty", 1, Hit("", "", "The file is empty; it needs one JSON object on each line."))
        elif part.examples < MIN_EXAMPLES:
            message = f"{part.examples} examples; a training job needs at least {MIN_EXAMPLES}. Add more."
            findings.add("too_few_examples", 1, Hit("", "", message))
        elif part.examples < RECOMMENDED_EXAMPLES:
            message = f"{part.examples} examples are few; improvements usually show from {RECOMMENDED_EXAMPLES} to 100."
            findings.add("few_examples", 1, Hit("", "", message))
        processes = processes if part.examples > _FEW_EXAMPLES else 1
        with map_in_order(range(len(part.checks)), self._found_by, processes=processes) as finished:
            for found, seconds in finished:
                part.seconds.update(seconds)
                findings.merge(found)

    def _found_by(self, number: int) -> tuple[Findings, Counter[str]]:
        """What one of the checks finds at the end, and how long that took it."""
        check = self.part.checks[number]
        found = Findings(self._listed_per_code)
        timed(self._profiler, f"{type(check).__name__} (at the end)", self._add_all)(check.finish, found)
        return found, self._profiler.take() if self._profiler is not None else Counter()

    @staticmethod
    def _add_all(finish: Callable[[], Iterable[LocatedHit]], findings: Findings) -> None:
        for code, line, hit in finish():
            findings.add(code, line, hit)


def _notes(part: Part) -> list[str]:
    """What was estimated or sampled, in words."""
    notes = [note for check in part.checks for note in check.notes()]
    if part.sums.images:
        notes.append(f"{part.sums.images:,} images are counted by an estimate (85 tokens in low detail, else 765).")
    if part.sums.definitions:
        notes.append("The tokens of tool definitions and calls are an estimate by the rule of OpenAI's cookbook.")
    return notes


def _no_progress(bytes_done: int) -> None:
    """For a caller who does not ask how far it is."""
