"""Maps an exchange to the rows of the weight table whose sum scores each next byte.

A row is picked by a hash of (a) the last 1 to 13 bytes in seven lengths, (b) the whole question with the last 6, and
(c) each of up to eight words of the question with the last 3. (a) is the language, (b) and (c) tie answer to question.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from .exchanges import Text

ROWS = 65_536
"""Rows that hashes fall on; the table has one more, always zero, that absent features point at."""
ORDERS = (1, 2, 3, 4, 6, 9, 13)
"""Lengths of context, in bytes."""
WINDOW = ORDERS[-1]
WORDS = 8
WIDTH = len(ORDERS) + 1 + WORDS
"""Rows consulted for one byte."""
END = 3
"""The byte that ends an answer."""
_ANSWER = 2
_CONTROL = bytes(b for b in range(9))
_WORD = re.compile(r"[^\W\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]+|[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]+")

Rows: TypeAlias = NDArray[np.int32]
"""Shape (bytes, WIDTH)."""


@dataclass(frozen=True, slots=True)
class Question:
    """What stays the same over an answer: the bytes before it and the hashes of the question."""

    tail: bytes
    hashes: NDArray[np.uint32]


def question_of(context: Sequence[Text]) -> Question:
    """Reduce a conversation to what the model uses: its last bytes, its last user message, and the words of that."""
    last_question = next((m.text for m in reversed(context) if m.role == "user"), context[-1].text if context else "")
    whole = "\n".join(f"{m.role}\t{m.text}" for m in context)
    hashes = [crc32(whole.encode("utf-8", "replace"))] + [
        crc32(w.encode("utf-8", "replace")) for w in _words(last_question)
    ]
    tail = clean(context[-1].text if context else "")[-(WINDOW - 1) :]
    return Question(
        tail=bytes(WINDOW - 1 - len(tail)) + tail + bytes((_ANSWER,)), hashes=np.array(hashes, dtype=np.uint32)
    )


def clean(text: str) -> bytes:
    """UTF-8 without the control bytes that the model uses as delimiters."""
    return text.encode("utf-8", "replace").translate(None, _CONTROL)


def rows(question: Question, answered: bytes) -> Rows:
    """The rows for every byte of `answered` and for the one after it: shape (len(answered) + 1, WIDTH)."""
    stream = np.frombuffer(question.tail + answered, dtype=np.uint8).astype(np.uint32)
    count = len(answered) + 1
    found = np.full((count, WIDTH), ROWS, dtype=np.int32)
    rolling = np.full(count, 0x9E3779B9, dtype=np.uint32)
    by_length: dict[int, NDArray[np.uint32]] = {}
    for length in range(1, WINDOW + 1):
        start = WINDOW - length
        rolling = (rolling ^ stream[start : start + count]) * np.uint32(0x01000193) + np.uint32(length)
        by_length[length] = rolling
    for column, length in enumerate(ORDERS):
        found[:, column] = _scatter(by_length[length])
    found[:, len(ORDERS)] = _scatter(by_length[6] ^ question.hashes[0])
    words = question.hashes[1:]
    found[:, len(ORDERS) + 1 : len(ORDERS) + 1 + len(words)] = _scatter(by_length[3][:, None] ^ words[None, :])
    return found


def _scatter(hashed: NDArray[np.uint32]) -> NDArray[np.uint32]:
    mixed = (hashed ^ (hashed >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    mixed = (mixed ^ (mixed >> np.uint32(12))) * np.uint32(0x297A2D39)
    return (mixed ^ (mixed >> np.uint32(15))) % np.uint32(ROWS)


def _words(text: str) -> list[str]:
    """Up to eight distinct words, the longest first; scripts without spaces give pairs of characters."""
    found: dict[str, None] = {}
    for run in _WORD.findall(text.lower()):
        if ord(run[0]) >= 0x3040 and len(run) > 1:
            found.update(dict.fromkeys(run[i : i + 2] for i in range(len(run) - 1)))
        else:
            found[run] = None
    return sorted(found, key=lambda word: (-len(word), word))[:WORDS]
