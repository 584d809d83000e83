"""Train-validation leakage: examples of a validation file that the training file has too, or nearly.

The validation file is read first and remembered (hashes and sketches, up to 200,000 rows); the training file, usually
the larger, streams past it. Both are read in one process, because the hashes are those of this process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import msgspec

from service.datasets.checks.leakage_codes import LEAKAGE_EXACT, LEAKAGE_NEAR, LEAKAGE_PROMPT
from service.datasets.checks.registry import Hit
from service.datasets.findings import Findings
from service.datasets.formats import Example, PlainRow, read_example, read_plain_chat, same_format
from service.datasets.lines import read_blocks
from service.datasets.opening import read_opening
from service.datasets.report_schema import Finding
from service.datasets.rows import as_object, read_rows
from service.datasets.sketches import SKETCH_BYTES, bands, near, sketches

MAX_LINE_BYTES = 16 << 20
MAX_VALIDATION_ROWS = 200_000


class Leakage(msgspec.Struct, frozen=True, kw_only=True):
    """What two files share. `findings` name lines of the validation file, one finding a line, capped per code.

    `exact`, `same_prompt` and `near` count validation examples; an example counts once, as the worst of the three.
    """

    training_examples: int
    validation_examples: int
    exact: int
    same_prompt: int
    near: int
    findings: list[Finding]
    notes: list[str]


def find_leakage(
    training: Iterable[bytes],
    validation: Iterable[bytes],
    *,
    max_line_bytes: int = MAX_LINE_BYTES,
    listed_per_code: int = 100,
) -> Leakage:
    """Compares two files, each given as its bytes in pieces. Never raises for what the bytes are."""
    known = _Known()
    for batch in _examples(validation, max_line_bytes):
        known.remember(batch)
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
        training_examples=training_examples,
        validation_examples=known.rows,
        exact=findings.counts.get(LEAKAGE_EXACT, 0),
        same_prompt=findings.counts.get(LEAKAGE_PROMPT, 0),
        near=findings.counts.get(LEAKAGE_NEAR, 0),
        findings=findings.listed(),
        notes=list(known.notes()),
    )


class _Known:
    """The validation file. `matches` maps a row to how bad its match is, its code, and the training file's line."""

    def __init__(self) -> None:
        self.rows = 0
        self.lines: list[int] = []
        self.matches: dict[int, tuple[int, str, int]] = {}
        self._keys: dict[int, list[int]] = {}
        self._prompts: dict[int, list[int]] = {}
        self._bands: dict[tuple[int, bytes], list[int]] = {}
        self._sketches = bytearray()

    def remember(self, examples: Sequence[Example]) -> None:
        self.rows += len(examples)
        examples = examples[: MAX_VALIDATION_ROWS - len(self.lines)]
        for row, example in enumerate(examples, start=len(self.lines)):
            self._keys.setdefault(example.key, []).append(row)
            if example.has_prompt:
                self._prompts.setdefault(example.prompt_key, []).append(row)
        self.lines.extend(example.line for example in examples)
        numbers = sketches(examples)
        for band, keys in enumerate(bands(numbers)):
            for row, key in enumerate(keys, start=len(self.lines) - len(examples)):
                self._bands.setdefault((band, key), []).append(row)
        self._sketches += numbers

    def compare(self, examples: Sequence[Example]) -> None:
        for example in examples:
            for row in self._keys.get(example.key, ()):
                self._match(row, 0, LEAKAGE_EXACT, example.line)
            if example.has_prompt:
                for row in self._prompts.get(example.prompt_key, ()):
                    self._match(row, 1, LEAKAGE_PROMPT, example.line)
        numbers = sketches(examples)
        for band, keys in enumerate(bands(numbers)):
            for index, key in enumerate(keys):
                for row in self._bands.get((band, key), ()):
                    if row not in self.matches and near(_at(numbers, index), _at(self._sketches, row)):
                        self._match(row, 2, LEAKAGE_NEAR, examples[index].line)

    def notes(self) -> Iterator[str]:
        if self.rows > len(self.lines):
            yield f"Only the first {MAX_VALIDATION_ROWS:,} validation examples were compared."

    def _match(self, row: int, rank: int, code: str, line: int) -> None:
        if row not in self.matches or rank < self.matches[row][0]:
            self.matches[row] = (rank, code, line)


def _at(numbers: bytes | bytearray, row: int) -> bytes:
    return bytes(numbers[row * SKETCH_BYTES : (row + 1) * SKETCH_BYTES])


def _examples(chunks: Iterable[bytes], max_line_bytes: int) -> Iterator[list[Example]]:
    """The examples of a file in its own format, batch by batch; lines that are none are stepped over."""
    blocks = read_blocks(chunks, max_line_bytes=max_line_bytes)
    opening = read_opening(blocks, max_line_bytes=max_line_bytes)
    expected = opening.format
    if expected is None:
        return
    for block in chain(opening.blocks, blocks):
        examples = []
        for line, value in read_rows(block, max_line_bytes=max_line_bytes, plain=expected == "chat").rows:
            example = read_plain_chat(line.number, value) if isinstance(value, PlainRow) else None
            if example is None:
                row = as_object(line, value)
                if not same_format(row, expected):
                    continue
                example = read_example(line.number, row, expected)
            examples.append(example)
        yield examples
