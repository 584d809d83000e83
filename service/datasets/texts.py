"""Runs the checks of texts and answers over a batch, and looks closely only where something may be.

Most texts hold nothing that a check of texts looks for. So the texts of a batch are joined and searched once for each
check's needles, at the speed of a plain substring search, and a gate is asked of many texts at once; only a text that
has a needle or passes the gate is given to the check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from service.datasets.checks import CHECKS
from service.datasets.checks.registry import Check
from service.datasets.findings import Findings
from service.datasets.formats import Example, Piece
from service.datasets.stopwatch import Stopwatch, timed

_TEXTS_AT_ONCE = 32


class _Batch(NamedTuple):
    """The texts of some examples, each with its line. `plain` are the places of ASCII texts, `other` of others."""

    lines: list[int]
    pieces: list[Piece]
    plain: list[int]
    plain_text: str
    other: list[int]
    other_text: str
    groups: list[tuple[int, bytes]]


class TextScanner:
    """Takes batches of examples, in order."""

    def __init__(self, watch: Stopwatch | None = None) -> None:
        scoped = [check for check in CHECKS.values() if check.scope == "text"]
        by_gate: dict[Callable[[bytes], bool], list[Check]] = {}
        for check in scoped:
            if check.gate is not None:
                by_gate.setdefault(check.gate, []).append(check)
        self._steps: list[Callable[[_Batch, Findings], None]] = [
            timed(watch, check.code, partial(_search, check)) for check in scoped if check.needles
        ]
        self._steps += [
            timed(watch, ", ".join(check.code for check in checks), partial(_ask, gate, checks))
            for gate, checks in by_gate.items()
        ]
        self._steps += [
            timed(watch, check.code, partial(_read_answers, check))
            for check in CHECKS.values()
            if check.scope == "answer"
        ]

    def scan(self, examples: Sequence[Example], findings: Findings) -> None:
        """Adds what the checks of texts and answers find in a batch."""
        batch = _batch(examples)
        for step in self._steps:
            step(batch, findings)


def _batch(examples: Sequence[Example]) -> _Batch:
    pieces = [piece for example in examples for piece in example.pieces]
    texts = [piece.text for piece in pieces]
    plain = [at for at, text in enumerate(texts) if text.isascii()]
    other = [at for at, text in enumerate(texts) if not text.isascii()]
    return _Batch(
        lines=[example.line for example in examples for _ in example.pieces],
        pieces=pieces,
        plain=plain,
        plain_text="\n".join([texts[at] for at in plain]),
        other=other,
        other_text="\n".join([texts[at] for at in other]),
        groups=[
            (start, "\n".join(texts[start : start + _TEXTS_AT_ONCE]).encode("utf-8", "replace"))
            for start in range(0, len(texts), _TEXTS_AT_ONCE)
        ],
    )


def _search(check: Check, batch: _Batch, findings: Findings) -> None:
    """Gives a check the texts with one of its needles; an ASCII text can only have an ASCII needle."""
    pieces = batch.pieces
    chosen: set[int] = set()
    for needle in check.needles:
        if needle.isascii() and needle in batch.plain_text:
            chosen.update([at for at in batch.plain if needle in pieces[at].text])
        if needle in batch.other_text:
            chosen.update([at for at in batch.other if needle in pieces[at].text])
    _run(check, sorted(chosen), batch, findings)


def _ask(gate: Callable[[bytes], bool], checks: Sequence[Check], batch: _Batch, findings: Findings) -> None:
    """Gives checks the texts that pass their gate."""
    chosen = [
        at
        for start, joined in batch.groups
        if gate(joined)
        for at, piece in enumerate(batch.pieces[start : start + _TEXTS_AT_ONCE], start)
        if gate(piece.text.encode("utf-8", "replace"))
    ]
    for check in checks:
        _run(check, chosen, batch, findings)


def _read_answers(check: Check, batch: _Batch, findings: Findings) -> None:
    _run(check, [at for at, piece in enumerate(batch.pieces) if piece.trained and piece.text], batch, findings)


def _run(check: Check, places: Sequence[int], batch: _Batch, findings: Findings) -> None:
    find = check.on_text
    if find is None:
        return
    for at in places:
        piece = batch.pieces[at]
        for hit in find(piece.text):
            findings.add(check.code, batch.lines[at], hit._replace(pointer=piece.pointer))
