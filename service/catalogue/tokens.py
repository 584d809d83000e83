"""Counts tokens with a model's own tokenizer, offline.

The two merge tables ship with the package, under the names that they have in tiktoken's cache (sha1 of their URL), so
that `TIKTOKEN_CACHE_DIR` may point at the same folder. tiktoken's own definitions load them, with one function
replaced: tiktoken deletes a file whose hash is wrong and downloads it again, this module raises `EncodingDamaged`.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib
import importlib.util
import re
import types
from binascii import a2b_base64
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from service.errors import TunegateError

if TYPE_CHECKING:
    import tiktoken

ENCODINGS_DIR = Path(__file__).parent / "encodings"
ENCODINGS = ("o200k_base", "cl100k_base")

LONG_SPACE_CHARS = 100_000
_SPACES = "\t\x0b\x0c \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""Unicode white space without line breaks."""

_SPACE_RUN = re.compile(f"[{_SPACES}]{{4}}[{_SPACES}]*+")

EDGE_CASE_TEXTS = (
    "Hello, world! It's 3.14 — don't PANIC…\r\n\r\n\tif x == 1:\n        return None  \n",
    "好的,没问题!我们来看一下这个问题:\uff11\uff12\uff13 4567 东京タワー 안녕하세요 Привет नमस्ते ﷽",
    "<|endoftext|><|im_start|>system\u200b e\u0301 👩‍👩‍👧‍👦 \x00\x7f " + "a" * 300 + " " * 50 + "9" * 40,
)
"""Texts for which nearly equal tokenizers give different counts."""


class ModelFacts(msgspec.Struct, frozen=True):
    """The facts about a model that a report needs: its encoding and its token limit for one training example.

    `tokenizer` is the path of an open model's tokenizer; empty for a shipped encoding.
    """

    name: str
    encoding: str
    max_tokens: int
    tokenizer: str = ""


class ModelPrice(msgspec.Struct, frozen=True):
    """A model's training price, in micro-dollars per million tokens; None for a model that is billed by the hour.

    `formats` are the dataset formats that the model can be trained on.
    """

    model: str
    micros_per_million_tokens: int | None
    shutdown_date: datetime.date | None = None
    formats: tuple[str, ...] = ("chat",)


class EncodingDamaged(TunegateError):
    """A shipped merge table is missing, or its sha256 is not the one in tiktoken's definition."""


class CountsDiffer(TunegateError):
    """The fast counter and tiktoken count different numbers of tokens for the same text."""


class TokenCounter(Protocol):
    """Counts tokens like tiktoken's `encode_ordinary`, which treats special tokens inside a text as plain text."""

    def count(self, text: str) -> int:
        """The number of tokens in one text."""

    def count_all(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens in each of several texts."""


@lru_cache(maxsize=len(ENCODINGS))
def load_encoding(name: str) -> tiktoken.Encoding:
    """Loads the tiktoken encoding `name` from the shipped files and verifies their hashes.

    Raises EncodingDamaged, and KeyError for an encoding that is not shipped.
    """
    if name not in ENCODINGS:
        raise KeyError(f"encoding {name!r} is not shipped; known: {', '.join(ENCODINGS)}")
    import tiktoken  # here, because most processes that import this module count no tokens, or only with quicktok

    openai_public = importlib.import_module("tiktoken_ext.openai_public")
    definition = getattr(openai_public, name)
    offline = types.FunctionType(
        definition.__code__, {**vars(openai_public), "load_tiktoken_bpe": _read_merge_table}, name
    )
    encoding = tiktoken.Encoding(**offline())
    encoding._mergeable_ranks = {}  # a second copy of 30 MB; tiktoken's core has its own
    return encoding


@lru_cache(maxsize=len(ENCODINGS))
def reference_counter(encoding: str) -> TokenCounter:
    """tiktoken's own counter. Raises EncodingDamaged, and KeyError for an encoding that is not shipped."""
    return TiktokenCounter(load_encoding(encoding))


def fast_counter_is_installed() -> bool:
    """Whether quicktok is installed. `fast_counter` shows whether it also works."""
    return importlib.util.find_spec("quicktok") is not None


@lru_cache(maxsize=len(ENCODINGS))
def fast_counter(encoding: str) -> TokenCounter | None:
    """quicktok's counter, five times as fast as tiktoken; None if it is not installed or does not work.

    Loading it takes as long as counting 8 MB with tiktoken. `TokenizerCheck` compares its counts with tiktoken's.
    """
    try:
        quicktok = importlib.import_module("quicktok")
        count: Callable[[str], int] = quicktok.get_encoding(encoding).count
        count("a")
    except (ImportError, AttributeError, TypeError, RuntimeError, OSError):
        return None
    return QuicktokCounter(count, encoding)


class TiktokenCounter:
    """Counts tokens with tiktoken: the reference."""

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self._encode = encoding.encode_ordinary
        self._encode_piece = encoding._encode_single_piece
        self._joins_last_spaces = encoding.name == "cl100k_base"

    def count(self, text: str) -> int:
        """The number of tokens in one text; a lone surrogate counts as U+FFFD, as in tiktoken."""
        return len(self._encode(text)) if len(text) < LONG_SPACE_CHARS else self._count_long(text)

    def count_all(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens in each of several texts."""
        return list(map(self.count, texts))

    def _count_long(self, text: str) -> int:
        """Counts runs of over 100,000 spaces separately, because tiktoken panics on them.

        The encodings' patterns make such a run one piece, except for its last space, which may join the word after it
        (`\\s+(?!\\S)`). cl100k_base can encode such a run at the end of a text.
        """
        tokens = start = 0
        for run in _SPACE_RUN.finditer(text):
            last = run.end() == len(text)
            if run.end() - run.start() < LONG_SPACE_CHARS or (last and self._joins_last_spaces):
                continue
            if text[run.end() : run.end() + 1] in ("\r", "\n"):
                continue
            end = run.end() if last else run.end() - 1
            tokens += len(self._encode(text[start : run.start()])) + len(self._encode_piece(text[run.start() : end]))
            start = end
        return tokens + len(self._encode(text[start:]))


class QuicktokCounter:
    """Counts tokens with quicktok (optional dependency, MIT): the same numbers, several times as fast."""

    def __init__(self, count: Callable[[str], int], encoding: str) -> None:
        self._count = count
        self._encoding = encoding

    def count(self, text: str) -> int:
        """The number of tokens in one text; tiktoken counts texts that quicktok rejects (lone surrogates)."""
        try:
            return self._count(text)
        except (TypeError, UnicodeError):
            return reference_counter(self._encoding).count(text)

    def count_all(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens in each of several texts. It is a fifth faster than `count` for each."""
        try:
            return list(map(self._count, texts))
        except (TypeError, UnicodeError):
            return list(map(self.count, texts))


def _read_merge_table(url: str, expected_hash: str) -> dict[bytes, int]:
    path = ENCODINGS_DIR / hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise EncodingDamaged(f"{path}: cannot be read ({error.strerror}); reinstall the package") from error
    if hashlib.sha256(contents).hexdigest() != expected_hash:
        raise EncodingDamaged(f"{path}: is not {url} (sha256 differs); reinstall the package")
    fields = contents.split()
    return dict(zip(map(a2b_base64, fields[::2]), map(int, fields[1::2]), strict=True))
