"""Counts the tokens of inference calls: in this process's threads, or in processes that hold the tokenizers for it.

A worker counts in threads, since it counts for every call of a run. An API process needs an exact count rarely: for
long texts, and for answers without a usage. So it starts a process for that, which ends when it is idle, and never
holds a tokenizer itself.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec
import structlog

from service.catalogue.counting import counter_of
from service.fair_places import FairPlaces
from service.off_loop import off_loop
from service.processes.guard import LimitReached
from service.processes.pool import ProcessPool, WorkFailed

log = structlog.get_logger()

PROGRAM = "service.inference.counting_program"

INLINE_CHARS = 20_000
"""Longer texts are counted in a thread, so that they do not block other requests."""

COUNTING_THREADS = 4
"""Threads that count at the same time, of the process's shared pool, which has at least five."""

COUNTING_PROCESSES = 2
"""Processes that count at the same time. The second starts when the first is occupied."""

IDLE_SECONDS = 30.0
"""A counting process without work for this time ends; the next one starts within a second."""

COUNTING_SECONDS = 10.0
"""Processor time of one request: the longest text takes under a second, loading a tokenizer another."""

SILENCE_SECONDS = 30.0
"""A counting process that is silent for this time hangs, however busy the machine is."""

COUNTING_BYTES = 1024 * 1024 * 1024
"""The address space that a counting process may add: both tokenizers have some 250 MB."""

MAX_COUNTED_CHARS = 4_000_000
"""No model reads more. The upstream refuses a longer text, so it is not counted and reserves a token a byte."""

BOUND_BYTES = 8_000
"""Up to these bytes a call may reserve a token a byte without a count: at most some 6,000 tokens of input too many,
which cost less than an eighth of the longest answer that is reserved with them."""


class CountRequest(msgspec.Struct, frozen=True):
    """Texts to count, and what counts them: an encoding, or the path of an open model's tokenizer."""

    encoding: str
    texts: Sequence[str]


class TokenCounts(Protocol):
    """Counts tokens for calls. Calls whose bodies have less than `uncounted_bytes` reserve a token a byte."""

    uncounted_bytes: int

    async def count(self, texts: Sequence[str], encoding: str, *, project_id: str) -> int:
        """The number of tokens of a project's texts; an upper bound where they are too long for any model."""

    async def close(self) -> None:
        """End what counts."""


class ThreadCounts:
    """Counts in this process: long texts in threads, which projects share."""

    uncounted_bytes = 0

    def __init__(self) -> None:
        self._loaded_encodings: set[str] = set()
        self._places = FairPlaces(COUNTING_THREADS)

    async def count(self, texts: Sequence[str], encoding: str, *, project_id: str) -> int:
        """As `TokenCounts.count`."""
        chars = sum(map(len, texts))
        if chars > MAX_COUNTED_CHARS:
            return await off_loop(chars, token_bound, texts)
        if chars <= INLINE_CHARS and encoding in self._loaded_encodings:
            return count_tokens(texts, encoding)
        async with self._places.occupy(project_id):
            tokens = await asyncio.to_thread(count_tokens, texts, encoding)
        self._loaded_encodings.add(encoding)
        return tokens

    async def close(self) -> None:
        """Nothing to end."""


class ProcessCounts:
    """Counts in processes, which projects share, which load the tokenizers and end when they are idle."""

    uncounted_bytes = BOUND_BYTES

    def __init__(self) -> None:
        self._pool: ProcessPool[CountRequest, int] = ProcessPool(
            PROGRAM,
            answer_type=int,
            processes=COUNTING_PROCESSES,
            memory_bytes=COUNTING_BYTES,
            silence_seconds=SILENCE_SECONDS,
            idle_seconds=IDLE_SECONDS,
        )

    async def count(self, texts: Sequence[str], encoding: str, *, project_id: str) -> int:
        """As `TokenCounts.count`; an upper bound too where the process that counts fails."""
        if not any(texts):
            return 0
        if (chars := sum(map(len, texts))) > MAX_COUNTED_CHARS:
            return await off_loop(chars, token_bound, texts)
        try:
            return await self._pool.ask(CountRequest(encoding, texts), project_id=project_id)
        except (LimitReached, WorkFailed, OSError) as error:
            log.warning("inference.tokens_not_counted", error=str(error))
            return await off_loop(chars, token_bound, texts)

    async def close(self) -> None:
        """End the processes."""
        await self._pool.close()


def token_bound(texts: Sequence[str]) -> int:
    """An upper bound of the tokens of texts: a token has at least one byte of UTF-8."""
    return sum(len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")) for text in texts)


def count_tokens(texts: Sequence[str], encoding: str) -> int:
    """The number of tokens of texts, with this process's own tokenizer."""
    counter = counter_of(encoding)
    return sum(counter.count(text) for text in texts)
