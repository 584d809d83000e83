"""Train-validation leakage: examples of a validation file that the training file has too, or nearly.

The validation file is read first and remembered (hashes and sketches, up to 200,000 rows); the training file, usually
the larger, streams past it. Both are read in one process, because the hashes are those of this process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from service.datasets.checks.leakage_codes import LEAKAGE_EXACT, LEAKAGE_NEAR, LEAKAGE_PROMPT
from service.datasets.checks.registry import Hit
from service.datasets.decode import decode_line
from service.datasets.findings import Findings
from service.datasets.formats import Example, file_format, read_example, read_plain_chat, same_format
from service.datasets.lines import read_lines
from service.datasets.report_schema import Finding
from service.datasets.sketches import Sketch, band_keys, can_sketch, near, sketches

MAX_LINE_BYTES = 16 << 20
MAX_VALIDATION_ROWS = 200_000
_BATCH = 256


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
        self._bands: dict[int, list[int]] = {}
        self._sketches: list[Sketch] = []

    def remember(self, examples: Sequence[Example]) -> None:
        self.rows += len(examples)
        examples = examples[: MAX_VALIDATION_ROWS - len(self.lines)]
        for row, example in enumerate(examples, start=len(self.lines)):
            self._keys.setdefault(example.key, []).append(row)
            if _has_prompt(example):
                self._prompts.setdefault(example.prompt_key, []).append(row)
        self.lines.extend(example.line for example in examples)
        if examples and can_sketch():
            for row, sketch in enumerate(sketches(examples), start=len(self._sketches)):
                for key in band_keys(sketch):
                    self._bands.setdefault(key, []).append(row)
                self._sketches.append(sketch)

    def compare(self, examples: Sequence[Example]) -> None:
        for example in examples:
            for row in self._keys.get(example.key, ()):
                self._match(row, 0, LEAKAGE_EXACT, example.line)
            if _has_prompt(example):
                for row in self._prompts.get(example.prompt_key, ()):
                    self._match(row, 1, LEAKAGE_PROMPT, example.line)
        if self._sketches:
            for example, sketch in zip(examples, sketches(examples), strict=True):
                for key in band_keys(sketch):
                    for row in self._bands.get(key, ()):
                        if row not in self.matches and near(sketch, self._sketches[row]):
                            self._match(row, 2, LEAKAGE_NEAR, example.line)

    def notes(self) -> Iterator[str]:
        if not can_sketch():
            yield "Near duplicates were not looked for: the library rensa is not installed."
        if self.rows > len(self.lines):
            yield f"Only the first {MAX_VALIDATION_ROWS:,} validation examples were compared."

    def _match(self, row: int, rank: int, code: str, line: int) -> None:
        if row not in self.matches or rank < self.matches[row][0]:
            self.matches[row] = (rank, code, line)


def _has_prompt(example: Example) -> bool:
    return any(piece.text and piece.role != "system" for piece in example.pieces if not piece.trained)


def _examples(chunks: Iterable[bytes], max_line_bytes: int) -> Iterator[list[Example]]:
    """The examples of a file in its own format, batch by batch; lines that are none are stepped over."""
    lines = read_lines(chunks, max_line_bytes=max_line_bytes)
    decoded = ((line.number, decode_line(line.data, line.offset)[0]) for line in lines if not line.too_long)
    rows = ((number, row) for number, row in decoded if row is not None)
    expected = None
    while batch := list(islice(rows, _BATCH)):
        expected = expected or file_format(row for _, row in batch)
        if expected is None:
            continue
        yield [
            (read_plain_chat(number, row) if expected == "chat" else None) or read_example(number, row, expected)
            for number, row in batch
            if same_format(row, expected)
        ]
