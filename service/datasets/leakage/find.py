"""Train-validation leakage: examples of a validation file that the training file has too, or nearly.

The validation file is read first and remembered (hashes and sketches, up to 200,000 rows, about 100 MB for so many);
the training file, usually the larger, streams past it. Both are read in one process, because the hashes are those of
this process. What a row has been found to share is looked for no longer, so files full of one template cost no more
than others; what only looks alike is compared up to a bound, and a note says where that was reached.
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
"""Of sketches that share a band, some 20 s of one core."""


def find_leakage(
    training: Iterable[bytes],
    validation: Iterable[bytes],
    *,
    validation_file: str,
    max_line_bytes: int = MAX_LINE_BYTES,
    listed_per_code: int = 100,
) -> Leakage:
    """Compares two files, each given as its bytes in pieces. Never raises for what the bytes are."""
    known = _ValidationIndex()
    for batch in _examples(validation, max_line_bytes):
        known.remember(batch)
    known.seal()
    training_examples = 0
    for batch in _examples(training, max_line_bytes):
        training_examples += len(batch)
        known.compare(batch)
    findings = Findings(listed_per_code)
    for row, (_, code, line) in sorted(known.matches.items()):
        message = {
            LEAKAGE_EXACT: f"Line {line} of the training file is the same example; remove one of the two.",
            LEAKAGE_PROMPT: f"Line {line} of the training file has the same prompt; keep it in one file.",
            LEAKAGE_NEAR: f"Line {line} of the training file is nearly the same example; keep it in one file.",
        }[code]
        findings.add(code, known.lines[row], Hit("", "", message))
    return Leakage(
        validation_file=validation_file,
        status="ready",
        training_examples=training_examples,
        validation_examples=known.rows,
        exact=findings.counts.get(LEAKAGE_EXACT, 0),
        same_prompt=findings.counts.get(LEAKAGE_PROMPT, 0),
        near=findings.counts.get(LEAKAGE_NEAR, 0),
        share=round(len(known.matches) / max(1, len(known.lines)), 4),
        findings=findings.listed(),
        notes=list(known.notes()),
    )


class _ValidationIndex:
    """The validation file. `matches` maps a row to how bad its match is, its code, and the training file's line."""

    def __init__(self) -> None:
        self.rows = 0
        self.lines = array("I")
        self.matches: dict[int, tuple[int, str, int]] = {}
        self._keys, self._prompt_keys = array("q"), array("q")
        self._by_key, self._by_prompt = _Index(), _Index()
        self._by_band = [_Index() for _ in range(BANDS)]
        self._sketches = bytearray()
        self._comparisons = 0
        self._near_until: int | None = None

    def remember(self, examples: Sequence[Example]) -> None:
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
        numbers = sketches(examples)
        for index, keys in zip(self._by_band, bands(numbers), strict=True):
            for row, key in enumerate(keys, start=first):
                index.add(hash(key), row)
        self._sketches += numbers

    def seal(self) -> None:
        for index in (self._by_key, self._by_prompt, *self._by_band):
            index.seal()

    def compare(self, examples: Sequence[Example]) -> None:
        for example in examples:
            for place, row in self._by_key.rows(example.key):
                if self._keys[row] == example.key:
                    self._match(row, 0, LEAKAGE_EXACT, example.line)
                    self._by_key.drop(place)
            if example.has_prompt:
                for place, row in self._by_prompt.rows(example.prompt_key):
                    if self._prompt_keys[row] == example.prompt_key:
                        self._match(row, 1, LEAKAGE_PROMPT, example.line)
                        self._by_prompt.drop(place)
        if self._near_until is None:
            self._compare_nearly(examples)

    def notes(self) -> Iterator[str]:
        if self.rows > len(self.lines):
            yield f"Only the first {MAX_VALIDATION_ROWS:,} validation examples were compared."
        if self._near_until is not None:
            yield (
                f"So many examples look alike that nearly equal ones were looked for up to line {self._near_until:,} "
                "of the training file only."
            )

    def _compare_nearly(self, examples: Sequence[Example]) -> None:
        numbers = sketches(examples)
        for index, keys in zip(self._by_band, bands(numbers), strict=True):
            for number, key in enumerate(keys):
                sketch = _at(numbers, number)
                for place, row in index.rows(hash(key)):
                    if row not in self.matches:
                        self._comparisons += 1
                        if not is_near(sketch, _at(self._sketches, row)):
                            continue
                        self._match(row, 2, LEAKAGE_NEAR, examples[number].line)
                    index.drop(place)
        if self._comparisons > MAX_COMPARISONS:
            self._near_until = examples[-1].line

    def _match(self, row: int, rank: int, code: str, line: int) -> None:
        if row not in self.matches or rank < self.matches[row][0]:
            self.matches[row] = (rank, code, line)


class _Index:
    """Rows by a hash: 12 bytes a row. A row that was dropped is stepped over at no cost, however many there are.

    An entry is 45 bits of the hash and 18 of the row, so a row of another hash may be among those found.
    """

    _ROW_BITS = 18
    _ROW = (1 << _ROW_BITS) - 1
    _HASH = (1 << 45) - 1

    def __init__(self) -> None:
        self._entries = array("q")
        self._next = array("I")

    def add(self, key: int, row: int) -> None:
        self._entries.append((key & self._HASH) << self._ROW_BITS | row)

    def seal(self) -> None:
        self._entries = array("q", sorted(self._entries))
        self._next = array("I", range(len(self._entries) + 1))

    def rows(self, key: int) -> Iterator[tuple[int, int]]:
        """Places and rows of a hash. A place may be dropped as soon as it was given out."""
        entries, start = self._entries, (key & self._HASH) << self._ROW_BITS
        place = self._alive(bisect_left(entries, start))
        while place < len(entries) and entries[place] <= start | self._ROW:
            yield place, entries[place] & self._ROW
            place = self._alive(place + 1)

    def drop(self, place: int) -> None:
        self._next[place] = place + 1

    def _alive(self, place: int) -> int:
        following = self._next
        found = place
        while following[found] != found:
            found = following[found]
        while following[place] != found:  # so that the next look goes there at once
            following[place], place = found, following[place]
        return found


def _at(numbers: bytes | bytearray, row: int) -> bytes:
    return bytes(numbers[row * SKETCH_BYTES : (row + 1) * SKETCH_BYTES])


def _examples(chunks: Iterable[bytes], max_line_bytes: int) -> Iterator[list[Example]]:
    """The examples of a file in its own format, batch by batch; lines that are none are stepped over."""
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
