"""Counting tokens with a model's own tokenizer, offline.

The two merge tables ship with the package, under the names that tiktoken's cache gives them (sha1 of their URL), so
that `TIKTOKEN_CACHE_DIR` may point at the same folder. They are read here by tiktoken's own definitions with its
loader replaced: tiktoken's loader deletes a file whose hash is wrong and asks the network, ours refuses with
`EncodingDamaged`.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import importlib
import types
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import msgspec
import tiktoken

from service.errors import TunegateError

ENCODINGS_DIR = Path(__file__).parent / "encodings"
_OPENAI_PUBLIC = importlib.import_module("tiktoken_ext.openai_public")
ENCODINGS = ("o200k_base", "cl100k_base")

_PARITY_SAMPLES = (
    "Hello, world! It's 3.14 — don't PANIC…\r\n\r\n\tif x == 1:\n        return None  \n",
    "好的,没问题!我们来看一下这个问题:\uff11\uff12\uff13 4567 东京タワー 안녕하세요 Привет नमस्ते ﷽",
    "<|endoftext|><|im_start|>system\u200b e\u0301 👩‍👩‍👧‍👦 \x00\x7f " + "a" * 300 + " " * 50 + "9" * 40,
)


class ModelFacts(msgspec.Struct, frozen=True):
    """What a report must know of a model: its tokenizer's name and its limit of tokens per training example."""

    name: str
    encoding: str
    max_tokens: int


class ModelPrice(msgspec.Struct, frozen=True):
    """Training price in micro-dollars per million tokens; null for a model that is billed by the hour."""

    model: str
    micros_per_million_tokens: int | None
    shutdown_date: datetime.date | None = None


class EncodingDamaged(TunegateError):
    """A shipped merge table is missing or is not the one that tiktoken names by its sha256."""


class TokenCounter(Protocol):
    """Counts tokens as tiktoken's `encode_ordinary` does: special tokens inside a text are plain text."""

    def count(self, text: str) -> int:
        """Tokens in one text."""

    def count_all(self, texts: Sequence[str]) -> Sequence[int]:
        """Tokens in each of many texts, in their order. Other threads can run meanwhile."""


@lru_cache(maxsize=len(ENCODINGS))
def load_encoding(name: str) -> tiktoken.Encoding:
    """The tiktoken encoding `name`, from the shipped files alone, verified. Raises EncodingDamaged, KeyError."""
    if name not in ENCODINGS:
        raise KeyError(f"encoding {name!r} is not shipped; known: {', '.join(ENCODINGS)}")
    definition = getattr(_OPENAI_PUBLIC, name)
    offline = types.FunctionType(
        definition.__code__, {**vars(_OPENAI_PUBLIC), "load_tiktoken_bpe": _read_merge_table}, name
    )
    return tiktoken.Encoding(**offline())


@lru_cache(maxsize=len(ENCODINGS))
def counter(encoding: str) -> TokenCounter:
    """The fastest exact counter for `encoding`: quicktok if it is installed and agrees with tiktoken, else tiktoken.

    tiktoken's 80 MB are let go of when quicktok is taken, and loaded again for the rare text that quicktok refuses.
    """
    reference = TiktokenCounter(load_encoding(encoding))
    fast = _quicktok_counter(encoding)
    if fast is not None and list(fast.count_all(_PARITY_SAMPLES)) == list(reference.count_all(_PARITY_SAMPLES)):
        load_encoding.cache_clear()
        return fast
    return reference


class TiktokenCounter:
    """The reference: tiktoken itself."""

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self._encode = encoding.encode_ordinary

    def count(self, text: str) -> int:
        """Tokens in one text; a lone surrogate counts as U+FFFD, as in tiktoken."""
        return len(self._encode(text))

    def count_all(self, texts: Sequence[str]) -> Sequence[int]:
        """Tokens in each text."""
        encode = self._encode
        return [len(encode(text)) for text in texts]


class QuicktokCounter:
    """quicktok (optional, MIT): the same numbers, several times faster; it lets go of the GIL while it counts."""

    def __init__(
        self,
        count: Callable[[str], int],
        count_batch: Callable[[Sequence[str]], Sequence[int]],
        fallback: Callable[[], TokenCounter],
    ) -> None:
        self._count = count
        self._count_batch = count_batch
        self._fallback = fallback

    def count(self, text: str) -> int:
        """Tokens in one text; what quicktok refuses (lone surrogates) is counted by tiktoken."""
        try:
            return self._count(text)
        except (TypeError, UnicodeError):
            return self._fallback().count(text)

    def count_all(self, texts: Sequence[str]) -> Sequence[int]:
        """Tokens in each text; one refused text does not slow the others down for good."""
        try:
            return self._count_batch(texts)
        except (TypeError, UnicodeError):
            return [self.count(text) for text in texts]


def _quicktok_counter(encoding: str) -> TokenCounter | None:
    try:
        import quicktok

        tokenizer = quicktok.get_encoding(encoding)
        quicktok.count_batch(tokenizer, ["a"])
    except (ImportError, RuntimeError, OSError):
        return None

    def count_batch(texts: Sequence[str]) -> Sequence[int]:
        counts: list[int] = quicktok.count_batch(tokenizer, texts, 1).tolist()
        return counts

    return QuicktokCounter(tokenizer.count, count_batch, lambda: TiktokenCounter(load_encoding(encoding)))


def _read_merge_table(url: str, expected_hash: str) -> dict[bytes, int]:
    path = ENCODINGS_DIR / hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise EncodingDamaged(f"{path}: cannot be read ({error.strerror}); reinstall the package") from error
    if hashlib.sha256(contents).hexdigest() != expected_hash:
        raise EncodingDamaged(f"{path}: is not {url} (sha256 differs); reinstall the package")
    pairs = (line.split() for line in contents.splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in pairs}
