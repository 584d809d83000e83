"""Runs the checks of texts and answers over a batch, and looks closely only where something may be.

Most texts hold nothing that a check of texts looks for. So the texts of a batch are joined and searched once for each
check's needles, at the speed of a plain substring search, and a gate is asked of many texts at once; only a text that
has a needle or passes the gate is given to the check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from service.datasets.checks import CHECKS
from service.datasets.checks.registry import Check
from service.datasets.findings import Findings
from service.datasets.formats import Example, Piece
from service.datasets.stopwatch import Stopwatch, timed

_TEXTS_AT_ONCE = 32
_Placed = tuple[int, Piece]


class TextScanner:
    """Takes batches of examples, in order."""

    def __init__(self, watch: Stopwatch | None = None) -> None:
        scoped = [check for check in CHECKS.values() if check.scope == "text"]
        self._by_needle = [
            timed(watch, check.code, partial(_search, check, ascii=[needle for needle in check.needles if needle.isascii()]))
            for check in scoped
            if check.needles
        ]
        by_gate: dict[Callable[[bytes], bool], list[Check]] = {}
        for check in scoped:
            if check.gate is not None:
                by_gate.setdefault(check.gate, []).append(check)
        self._by_gate = [
            timed(watch, ", ".join(check.code for check in checks), partial(_pass, gate, checks))
            for gate, checks in by_gate.items()
        ]
        self._of_answers = [
            timed(watch, check.code, partial(_run, check)) for check in CHECKS.values() if check.scope == "answer"
        ]

    def scan(self, examples: Sequence[Example], findings: Findings) -> None:
        """Adds what the checks of texts and answers find in a batch."""
        pieces = [(example.line, piece) for example in examples for piece in example.pieces if piece.text]
        plain = [placed for placed in pieces if placed[1].text.isascii()]
        other = [placed for placed in pieces if not placed[1].text.isascii()]
        plain_text = "\n".join([piece.text for _, piece in plain])
        other_text = "\n".join([piece.text for _, piece in other])
        for search in self._by_needle:
            search(plain=plain, plain_text=plain_text, other=other, other_text=other_text, findings=findings)
        groups = [_group(pieces[at : at + _TEXTS_AT_ONCE]) for at in range(0, len(pieces), _TEXTS_AT_ONCE)]
        for ask in self._by_gate:
            ask(groups, findings)
        answers = [placed for placed in pieces if placed[1].trained]
        for run in self._of_answers:
            run(answers, findings)


def _group(pieces: Sequence[_Placed]) -> tuple[bytes, Sequence[_Placed]]:
    return "\n".join([piece.text for _, piece in pieces]).encode("utf-8", "replace"), pieces


def _search(
    check: Check,
    *,
    ascii: Sequence[str],
    plain: Sequence[_Placed],
    plain_text: str,
    other: Sequence[_Placed],
    other_text: str,
    findings: Findings,
) -> None:
    """Gives a check the texts with one of its needles; an ASCII text can only have an ASCII needle."""
    present = [needle for needle in ascii if needle in plain_text]
    chosen = [placed for placed in plain if _any_in(present, placed[1].text)] if present else []
    present = [needle for needle in check.needles if needle in other_text]
    if present:
        chosen += [placed for placed in other if _any_in(present, placed[1].text)]
        chosen.sort(key=_line)
    _run(check, chosen, findings)


def _pass(
    gate: Callable[[bytes], bool],
    checks: Sequence[Check],
    groups: Sequence[tuple[bytes, Sequence[_Placed]]],
    findings: Findings,
) -> None:
    chosen = [
        placed
        for joined, pieces in groups
        if gate(joined)
        for placed in pieces
        if gate(placed[1].text.encode("utf-8", "replace"))
    ]
    for check in checks:
        _run(check, chosen, findings)


def _run(check: Check, pieces: Sequence[_Placed], findings: Findings) -> None:
    find = check.on_text
    if find is None:
        return
    for line, piece in pieces:
        for hit in find(piece.text):
            findings.add(check.code, line, hit._replace(pointer=piece.pointer))


def _any_in(needles: Sequence[str], text: str) -> bool:
    return any([needle in text for needle in needles])


def _line(placed: _Placed) -> int:
    return placed[0]
