"""Runs the checks of texts and answers over a batch, and looks closely only where something may be.

Most texts hold nothing that a check of texts looks for. So the texts of a batch are joined and searched once for each
check's needles, at the speed of a plain substring search; only where one is found are the texts themselves looked at,
and only a text that has a needle is given to the check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from service.datasets.checks import CHECKS
from service.datasets.checks.registry import Check
from service.datasets.findings import Findings
from service.datasets.formats import Example, Piece


class TextScanner:
    """Takes batches of examples, in order."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._by_needle = [check for check in CHECKS.values() if check.scope == "text" and check.needles]
        self._by_gate: dict[Callable[[bytes], bool], list[Check]] = {}
        for check in CHECKS.values():
            if check.scope == "text" and check.gate is not None:
                self._by_gate.setdefault(check.gate, []).append(check)
        self._of_answers = [check for check in CHECKS.values() if check.scope == "answer"]

    def scan(self, examples: Sequence[Example]) -> None:
        """Adds what the checks of texts and answers find in a batch."""
        pieces = [(example.line, piece) for example in examples for piece in example.pieces]
        joined = "\n".join([piece.text for _, piece in pieces])
        for check in self._by_needle:
            present = [needle for needle in check.needles if needle in joined]
            if present:
                self._scan_for(check, present, pieces)
        for example in examples:
            self._scan_by_gate(example)
        answers = [(line, piece) for line, piece in pieces if piece.trained and piece.text]
        for check in self._of_answers:
            find = check.on_text
            if find is not None:
                for line, piece in answers:
                    for hit in find(piece.text):
                        self._findings.add(check.code, line, hit._replace(pointer=piece.pointer))

    def _scan_by_gate(self, example: Example) -> None:
        whole = "\n".join([piece.text for piece in example.pieces]).encode("utf-8", "replace")
        for gate, checks in self._by_gate.items():
            if gate(whole):
                for piece in example.pieces:
                    if gate(piece.text.encode("utf-8", "replace")):
                        for check in checks:
                            self._run(check, example.line, piece)

    def _scan_for(self, check: Check, needles: Sequence[str], pieces: Sequence[tuple[int, Piece]]) -> None:
        for line, piece in pieces:
            text = piece.text
            for needle in needles:
                if needle in text:
                    self._run(check, line, piece)
                    break

    def _run(self, check: Check, line: int, piece: Piece) -> None:
        if check.on_text is not None:
            for hit in check.on_text(piece.text):
                self._findings.add(check.code, line, hit._replace(pointer=piece.pointer))
