"""Finds train-validation leakage: examples of a validation file that are also, or nearly, in the training file.

The validation file is read first and indexed (hashes and sketches of up to 200,000 rows, about 100 MB); the training
file, usually the larger one, is streamed against that index. Both are read in one process, because hashes are only
comparable within a process. Index entries of a matched row are removed, so files full of one template cost no more
than others. The number of near-duplicate comparisons is bounded, and a note says at which line the bound was reached.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from service.datasets.checks.leakage_codes import LEAKAGE_EXACT, LEAKAGE_NEAR, LEAKAGE_PROMPT
from service.datasets.checks.registry import Hit
from service.datasets.duplicates.sketches import BANDS, SKETCH_BYTES, bands, is_near, sketches
from service.datasets.parsing.fast_chat import FastChatRow, parse_fast_chat
from service.datasets.parsing.formats import Example, read_example, same_format
from service.datasets.parsing.lines import read_blocks
from service.datasets.parsing.rows import as_object, read_rows
from service.datasets.report.findings import Findings
from service.datasets.report.format_detection import detect_format
from service.datasets.report_schema import Leakage

MAX_LINE_BYTES = 16 << 20
MAX_VALIDATION_ROWS = 200_000
MAX_COMPARISONS = 10_000_000
"""Comparisons of sketches that share a band: about 20 seconds of one core."""


def find_leakage(
    training: Iterable[bytes],
    validation: Iterable[bytes],
    *,
    validation_file: str,
    max_line_bytes: int = MAX_LINE_BYTES,
    listed_per_code: int = 100,
) -> Leakage:
    """Compares a validation file with a training file, each given as chunks of bytes. Never raises for their content.

    Lines over `max_line_bytes` are skipped; at most `listed_per_code` findings are listed for each code.
    """
    index = _ValidationIndex()
    for batch in _examples(validation, max_line_bytes):
        index.add(batch)
    index.sort()
    training_examples = 0
    for batch in _examples(training, max_line_bytes):
        training_examples += len(batch)
        index.compare(batch)
    findings = Findings(listed_per_code)
    for row, (_, code, line) in sorted(index.matches.items()):
        message = {
            LEAKAGE_EXACT: f"Line {line} of the training file is the same example; remove one of the two.",
            LEAKAGE_PROMPT: f"Line {line} of the training file has the same prompt; keep it in one file.",
            LEAKAGE_NEAR: f"Line {line} of the training file is nearly the same example; keep it in one file.",
        }[code]
        findings.add(code, index.lines[row], Hit("", "", message))
    return Leakage(
        validation_file=validation_file,
        status="ready",
        training_examples=training_examples,
        validation_examples=index.rows,
        exact=findings.counts.get(LEAKAGE_EXACT, 0),
        same_prompt=findings.counts.get(LEAKAGE_PROMPT, 0),
        near=findings.counts.get(LEAKAGE_NEAR, 0),
        share=round(len(index.matches) / max(1, len(index.lines)), 4),
        findings=findings.listed(),
        notes=list(index.notes()),
    )


class _ValidationIndex:
    """The validation file's rows by their hashes and sketches.

    `matches` maps a row to the rank of its worst match (0 is the worst), the match's code, and the training file's
    line.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.lines = array("I")
        self.matches: dict[int, tuple[int, str, int]] = {}
        self._keys, self._prompt_keys = array("q"), array("q")
        self._by_key, self._by_prompt = _Index(), _Index()
        self._by_band = [_Index() for _ in range(BANDS)]
        self._sketches = bytearray()
        self._comparisons = 0
        self._near_compared_until: int | None = None

    def add(self, examples: Sequence[Example]) -> None:
        self.rows += len(examples)
        examples = examples[: MAX_VALIDATION_ROWS - len(self.lines)]
        first = len(self.lines)
        for row, example in enumerate(examples, start=first):
            self._by_key.add(example.key, row)
            if example.has_prompt:
                self._by_prompt.add(example.prompt_key, row)
        self.lines.extend([example.line for example in examples])
        self._keys.extend([example.key for example in examples])
        self._prompt_keys.extend([example.prompt_key for example in examples])
        batch_sketches = sketches(examples)
        for index, keys in zip(self._by_band, bands(batch_sketches), strict=True):
            for row, key in enumerate(keys, start=first):
                index.add(hash(key), row)
        self._sketches += batch_sketches

    def sort(self) -> None:
        for index in (self._by_key, self._by_prompt, *self._by_band):
            index.sort()

    def compare(self, examples: Sequence[Example]) -> None:
        for example in examples:
            for entry, row in self._by_key.find(example.key):
                if self._keys[row] == example.key:
                    self._match(row, 0, LEAKAGE_EXACT, example.line)
                    self._by_key.drop(entry)
            if example.has_prompt:
                for entry, row in self._by_prompt.find(example.prompt_key):
                    if self._prompt_keys[row] == example.prompt_key:
                        self._match(row, 1, LEAKAGE_PROMPT, example.line)
                        self._by_prompt.drop(entry)
        if self._near_compared_until is None:
            self._compare_sketches(examples)

    def notes(self) -> Iterator[str]:
        if self.rows > len(self.lines):
            yield f"Only the first {MAX_VALIDATION_ROWS:,} validation examples were compared."
        if self._near_compared_until is not None:
            yield (
                "Near duplicates were searched only up to line "
                f"{self._near_compared_until:,} of the training file, because too many examples are similar."
            )

    def _compare_sketches(self, examples: Sequence[Example]) -> None:
        batch_sketches = sketches(examples)
        for index, keys in zip(self._by_band, bands(batch_sketches), strict=True):
            for number, key in enumerate(keys):
                sketch = _sketch(batch_sketches, number)
                for entry, row in index.find(hash(key)):
                    if row not in self.matches:
                        self._comparisons += 1
                        if not is_near(sketch, _sketch(self._sketches, row)):
                            continue
                        self._match(row, 2, LEAKAGE_NEAR, examples[number].line)
                    index.drop(entry)
        if self._comparisons > MAX_COMPARISONS:
            self._near_compared_until = examples[-1].line

    def _match(self, row: int, rank: int, code: str, line: int) -> None:
        if row not in self.matches or rank < self.matches[row][0]:
            self.matches[row] = (rank, code, line)


class _Index:
    """Finds rows by a hash. Add all rows, `sort` once, then `find` and `drop`. Uses 12 bytes for each row.

    An entry packs 45 bits of the hash and 18 bits of the row number, so `find` may also yield rows with another hash.
    Dropped entries are skipped in nearly constant time, by links with path compression.
    """

    _ROW_BITS = 18
    _ROW = (1 << _ROW_BITS) - 1
    _HASH = (1 << 45) - 1

    def __init__(self) -> None:
        self._entries = array("q")
        self._next = array("I")

    def add(self, key: int, row: int) -> None:
        self._entries.append((key & self._HASH) << self._ROW_BITS | row)

    def sort(self) -> None:
        self._entries = array("q", sorted(self._entries))
        self._next = array("I", range(len(self._entries) + 1))

    def find(self, key: int) -> Iterator[tuple[int, int]]:
        """The entries and rows of a hash. The caller may drop an entry as soon as it is yielded."""
        entries, start = self._entries, (key & self._HASH) << self._ROW_BITS
        entry = self._first_remaining(bisect_left(entries, start))
        while entry < len(entries) and entries[entry] <= start | self._ROW:
            yield entry, entries[entry] & self._ROW
            entry = self._first_remaining(entry + 1)

    def drop(self, entry: int) -> None:
        self._next[entry] = entry + 1

    def _first_remaining(self, entry: int) -> int:
        following = self._next
        found = entry
        while following[found] != found:
            found = following[found]
        while following[entry] != found:  # path compression: the next search from here takes one step
            following[entry], entry = found, following[entry]
        return found


def _sketch(all_sketches: bytes | bytearray, row: int) -> bytes:
    return bytes(all_sketches[row * SKETCH_BYTES : (row + 1) * SKETCH_BYTES])


def _examples(chunks: Iterable[bytes], max_line_bytes: int) -> Iterator[list[Example]]:
    """The examples of a file, in batches. Lines that are not examples of the file's format are skipped."""
    blocks = read_blocks(chunks, max_line_bytes=max_line_bytes)
    detection = detect_format(blocks, max_line_bytes=max_line_bytes)
    expected = detection.format
    if expected is None:
        return
    for block in chain(detection.blocks, blocks):
        examples = []
        for row in read_rows(block, max_line_bytes=max_line_bytes, fast_chat=expected == "chat").rows:
            example = parse_fast_chat(row.number, row.value) if isinstance(row.value, FastChatRow) else None
            if example is None:
                value = as_object(row)
                if not same_format(value, expected):
                    continue
                example = read_example(row.number, value, expected)
            examples.append(example)
        yield examples
