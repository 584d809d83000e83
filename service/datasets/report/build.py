"""Builds a dataset report: one pass over a file's bytes finds everything.

The file is read in blocks of whole lines. Each block is decoded, checked and counted on its own, in this process or in
several; the resulting parts are merged in the order of the file (see `parts`), so the report does not depend on the
number of processes. Memory is bounded by a few blocks, a few numbers per example, and the listed findings, whatever
the file's size.
"""

from __future__ import annotations

import importlib
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
)
from service.datasets.checks.file import MIN_EXAMPLES, RECOMMENDED_EXAMPLES
from service.datasets.checks.registry import Hit, LocatedHit
from service.datasets.parsing.lines import Block, read_blocks
from service.datasets.report.findings import Findings
from service.datasets.report.format_detection import detect_format
from service.datasets.report.parts import Part, PartReader, Task
from service.datasets.report.prices import price_lines
from service.datasets.report.process_pool import map_in_order
from service.datasets.report.profiler import Profiler, Seconds, add_seconds, timed
from service.datasets.report.text_checks import compile_searches
from service.datasets.report.token_totals import TokenTotals
from service.datasets.report_schema import Cookbook, FileReport, Format, Tokens
from service.datasets.statistics import cookbook_distribution, distribution, histogram

MAX_LINE_BYTES = 16 << 20
_SAMPLE_CHARS = 30
_MIN_EXAMPLES_TO_FORK = 10_000
"""Up to this number of examples the dataset checks finish sooner in one process than processes can be forked."""


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
    """Reads a whole file and builds its report. Never raises for the file's content.

    `chunks` are the file's bytes in pieces of any size. `progress` is called with the number of bytes read, at least
    once a megabyte and at the end. `prices` are listed for the default epochs, with the token counts of `model`. If
    `processes` is over 1, that many processes are forked to share the work. `quick` counts tokens with the fast
    counter, if it is installed, and compares it with tiktoken; if they differ, `chunks` are read again from the start
    and counted by tiktoken. `path` is a local copy of the same bytes, if there is one: the processes then read it
    themselves. `profiler` collects the time of each step.

    Raises EncodingDamaged, and KeyError for an encoding that is not shipped; CountsDiffer only if `chunks` is an
    iterator, which cannot be read again.
    """

    def read_file(*, quick: bool) -> _FileReader:
        reader = _FileReader(model, listed_per_code=listed_per_code, max_line_bytes=max_line_bytes, profiler=profiler)
        reader.read(chunks, path, processes=processes, quick=quick, progress=progress or _no_progress)
        return reader

    try:
        reader = read_file(quick=quick)
    except CountsDiffer:
        if iter(chunks) is chunks:
            raise
        reader = read_file(quick=False)
    if profiler is not None:
        add_seconds(profiler.seconds, reader.part.seconds)
    if max_file_bytes is not None and reader.bytes > max_file_bytes:
        message = f"The file has {reader.bytes:,} bytes; the limit is {max_file_bytes:,}. Split it or shorten it."
        reader.part.findings.add("file_too_large", 1, Hit("", "", message))
    return _report_on(reader, file_id=file_id, model=model, prices=prices)


class _FileReader:
    """Reads a file once. Afterwards `part` holds the findings and figures of the whole file."""

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
        blocks = read_blocks(self._counted(chunks), max_line_bytes=self._max_line_bytes)
        detection = detect_format(blocks, max_line_bytes=self._max_line_bytes)
        if detection.not_json_lines is None:
            self.format = detection.format
            self.part = Part(detection.format, self._listed_per_code)
            with nullcontext() if path is None or processes == 1 else path.open("rb") as file:
                self._read_parts(
                    chain(detection.blocks, blocks), file, processes=processes, quick=quick, progress=progress
                )
            timed(self._profiler, "findings of the whole file", self._add_findings_of_whole_file)(processes)
        else:
            for block in blocks:
                progress(block.end)
            self.part.findings.add(*detection.not_json_lines)
        if detection.byte_order_mark:
            message = "Remove the byte order mark at the file's start."
            self.part.findings.add("byte_order_mark", 1, Hit("", "", message))
        progress(self.bytes)

    def _counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
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
        """Reads the blocks in `processes` processes and merges their parts in the order of the file."""
        encoding = self._model.encoding
        tokenizer_check: TokenizerCheck | None = None
        if quick and not self._model.tokenizer and fast_counter_is_installed():
            tokenizer_check = TokenizerCheck(encoding, in_subprocess=processes > 1)
        try:
            counter = fast_counter(encoding) if tokenizer_check is not None else None
            reader = PartReader(
                format=self.format,
                model=self._model,
                counter=counter,
                listed_per_code=self._listed_per_code,
                max_line_bytes=self._max_line_bytes,
                file=file,
                profiler=self._profiler,
            )
            if processes > 1:
                compile_searches()
            tasks = (
                Task(block if file is None else block.without_data(), self.part.findings.full()) for block in blocks
            )
            with map_in_order(tasks, reader.read, processes=processes) as parts:
                if tokenizer_check is not None and counter is not None:
                    tokenizer_check.check_edge_cases(counter)
                for part in parts:
                    if tokenizer_check is not None and part.sample is not None:
                        tokenizer_check.compare(*part.sample)
                    timed(self._profiler, "merging parts", self.part.merge)(part)
                    progress(part.end)
                    if processes > 1:
                        _import_numpy()
            if tokenizer_check is not None:
                tokenizer_check.finish()
        finally:
            if tokenizer_check is not None:
                tokenizer_check.close()

    def _add_findings_of_whole_file(self, processes: int) -> None:
        part = self.part
        findings = part.findings
        if part.crlf is not None:
            findings.add("crlf", part.crlf, Hit("", "", "Lines end with CR LF; this is fine."))
        if part.foreign and (encoding := _named_encoding(b"\n".join(part.foreign))) is not None:
            findings.explain("not_utf8", encoding)
        if not part.lines:
            findings.add("file_empty", 1, Hit("", "", "The file is empty; it needs one JSON object on each line."))
        elif part.examples < MIN_EXAMPLES:
            message = f"{part.examples} examples; a training job needs at least {MIN_EXAMPLES}. Add more."
            findings.add("too_few_examples", 1, Hit("", "", message))
        elif part.examples < RECOMMENDED_EXAMPLES:
            message = f"{part.examples} examples are few; improvements usually show from {RECOMMENDED_EXAMPLES} to 100."
            findings.add("few_examples", 1, Hit("", "", message))
        processes = processes if part.examples > _MIN_EXAMPLES_TO_FORK else 1
        with map_in_order(range(len(part.checks)), self._finish_check, processes=processes) as results:
            for found, seconds in results:
                add_seconds(part.seconds, seconds)
                findings.merge(found)

    def _finish_check(self, number: int) -> tuple[Findings, Seconds]:
        """The findings of one dataset check, and the CPU seconds that it took to compute them."""
        check = self.part.checks[number]
        found = Findings(self._listed_per_code)
        timed(self._profiler, f"{type(check).__name__} (at the end)", self._add_hits)(check.finish, found)
        return found, self._profiler.take_seconds() if self._profiler is not None else {}

    @staticmethod
    def _add_hits(finish: Callable[[], Iterable[LocatedHit]], findings: Findings) -> None:
        for code, line, hit in finish():
            findings.add(code, line, hit)


def _import_numpy() -> None:
    """Imports numpy, which the comparisons at the end need, while other processes read the file."""
    importlib.import_module("service.datasets.duplicates.near")


def _named_encoding(foreign: bytes) -> str | None:
    """A sentence that names the likely encoding of lines that are not UTF-8; None if it is uncertain."""
    from service.datasets.encodings.detect import detect  # imports chardet, which few files need

    found = detect(foreign)
    if found.certainty == "uncertain":
        return None
    sample = min(found.text.split("\n"), key=lambda text: abs(len(text) - _SAMPLE_CHARS))[:_SAMPLE_CHARS]
    return f"Its bytes look like {found.encoding}, as in `{sample}`; a preparation converts the file."


def _report_on(reader: _FileReader, *, file_id: str, model: ModelFacts, prices: Sequence[ModelPrice]) -> FileReport:
    """The report of a file that has been read."""
    part, findings, totals = reader.part, reader.part.findings, reader.part.totals
    per_example = Counter(totals.per_example)
    epochs = default_epochs(part.examples)
    billable = totals.billable * epochs
    by_cookbook = not model.tokenizer and reader.format in ("chat", "reinforcement")
    return FileReport(
        file_id=file_id,
        status="ready",
        progress=1.0,
        model=model.name,
        max_tokens=model.max_tokens,
        format=reader.format,
        bytes=reader.bytes,
        examples=part.examples,
        lines_with_errors=findings.lines_with_errors,
        tokens=Tokens(
            encoding=model.encoding,
            total=totals.total,
            trained=totals.trained,
            definitions=totals.definitions,
            per_example=distribution(per_example),
            histogram=histogram(per_example),
        ),
        tokens_over_limit=totals.tokens_over_limit,
        examples_over_limit=totals.examples_over_limit,
        answers_cut_off=totals.answers_cut_off,
        default_epochs=epochs,
        epochs_reason=epochs_reason(part.examples),
        billable_tokens_per_epoch=totals.billable,
        billable_tokens=billable,
        cookbook=_cookbook(totals, epochs) if by_cookbook else None,
        prices=price_lines(reader.format, billable, prices),
        errors=findings.total("error"),
        warnings=findings.total("warning"),
        infos=findings.total("info"),
        counts=dict(sorted(findings.counts.items())),
        findings=findings.listed(),
        item_fields=dict(sorted(part.item_fields.items())),
        notes=_notes(part, model),
    )


def _cookbook(totals: TokenTotals, epochs: int) -> Cookbook:
    return Cookbook(
        tokens=totals.cookbook_billable,
        n_epochs=epochs,
        billed_tokens=totals.cookbook_billable * epochs,
        per_example=cookbook_distribution(Counter(totals.cookbook_per_example)),
        uncountable_examples=totals.uncountable,
    )


def _notes(part: Part, model: ModelFacts) -> list[str]:
    """Sentences about what was sampled or estimated."""
    notes = [note for check in part.checks for note in check.notes()]
    if part.totals.images:
        notes.append(f"{part.totals.images:,} images are counted by an estimate (85 tokens in low detail, else 765).")
    if part.totals.definitions and not model.tokenizer:
        notes.append("The tokens of tool definitions and calls are an estimate by the rule of OpenAI's cookbook.")
    return notes


def _no_progress(bytes_done: int) -> None:
    """The default for `progress`."""
