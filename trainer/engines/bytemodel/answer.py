"""Generates answers byte by byte from the base weights and a sparse difference, without a second dense table."""

from collections.abc import Iterator

import numpy as np

from ...rows import Conversation
from ..port import Piece, Sampling
from .calls import may_be_calls, split_calls
from .exchanges import count_prompt, texts_of
from .features import END, ROWS, WINDOW, Question, question_of, rows
from .learn import Floats, softmax
from .tokens import count_tokens
from .weights import STEPS_PER_UNIT, Delta, Table

_SHARPNESS = 2.5
"""Scales the temperature: a model of bytes makes about four random choices for one of a model of tokens."""
_MAX_BYTES = 2_048
"""The longest answer."""
_PIECE = 4
"""Characters that are yielded together, about a token."""
_NEVER = np.float32(-1e9)
_CONTINUATIONS = [0 if b < 0xC2 else 1 if b < 0xE0 else 2 if b < 0xF0 else 3 for b in range(256)]
_ALLOWED = np.array(
    [
        [b == END or 9 <= b < 0x80 or 0xC2 <= b < 0xF5 for b in range(256)],
        [0x80 <= b < 0xC0 for b in range(256)],
    ]
)
"""Bytes that may begin a character (or end the answer), and bytes that may continue one."""


class ByteModel:
    """See `trainer.engines.port.Model`. It has no log probabilities."""

    default_temperature = 0.0

    def __init__(self, base: Table, delta: Delta | None) -> None:
        self._base, self._delta = base, delta

    def generate(self, prompt: Conversation | str, sampling: Sampling) -> Iterator[Piece]:
        text, given = "", 0
        for character in self._characters(prompt, sampling):
            if character is None:
                yield Piece(text[given:].encode(), finish="stop")
                return
            if sampling.max_tokens is not None and _exceeds(text + character, sampling.max_tokens):
                break
            text += character
            if len(text) == given + _PIECE:
                yield Piece(text[given:].encode())
                given = len(text)
        yield Piece(text[given:].encode(), finish="length")

    def count(self, prompt: Conversation | str) -> int:
        return count_prompt(prompt)

    def tool_calls(self, prompt: Conversation, text: str) -> tuple[str | None, list[dict[str, object]]]:
        return split_calls(text)

    def calls_begin(self, prompt: Conversation, text: str) -> int:
        return 0 if may_be_calls(text) else len(text)

    def _characters(self, prompt: Conversation | str, sampling: Sampling) -> Iterator[str | None]:
        """Whole characters, and None at the model's own end of the answer."""
        question = question_of(texts_of(prompt))
        random = np.random.default_rng(sampling.seed)
        character = b""
        continuations_due = 0
        for _ in range(_MAX_BYTES):
            byte = _pick(
                np.where(_ALLOWED[min(continuations_due, 1)], self._scores(question), _NEVER), sampling, random
            )
            if byte == END:
                yield None
                return
            continuations_due = continuations_due - 1 if continuations_due else _CONTINUATIONS[byte]
            piece = bytes((byte,))
            character += piece
            if not continuations_due:
                yield character.decode("utf-8", "replace")
                character = b""
            question = Question(question.tail[-(WINDOW - 1) :] + piece, question.hashes)

    def _scores(self, question: Question) -> Floats:
        found = rows(question, b"")[0]
        total: Floats = self._base[found].sum(axis=0)
        if self._delta is not None:
            starts, columns, values = self._delta.starts, self._delta.columns, self._delta.values
            for row in found[found < ROWS].tolist():
                span = slice(starts[row], starts[row + 1])
                total[columns[span]] += values[span].astype(np.float32) / STEPS_PER_UNIT
        return total


def _exceeds(text: str, max_tokens: int) -> bool:
    return len(text.encode()) > max_tokens and count_tokens(text) > max_tokens


def _pick(scores: Floats, sampling: Sampling, random: np.random.Generator) -> int:
    if sampling.temperature < 0.01:
        return int(scores.argmax())
    chances = softmax(scores * np.float32(_SHARPNESS / sampling.temperature)).astype(np.float64)
    order = np.argsort(-chances, kind="stable")
    kept = order[: max(1, int(np.searchsorted(np.cumsum(chances[order]), sampling.top_p)) + 1)]
    return int(random.choice(kept, p=chances[kept] / chances[kept].sum()))
