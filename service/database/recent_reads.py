"""Reads that many requests need and that may be a moment old: one request reads for all that need it soon after."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MAX_RECENT = 10_000


class RecentReads(Generic[Key, Value]):
    """What was read within the last `seconds`, by key. Concurrent requests for a key share one read.

    A failed read is not remembered.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._reads: dict[Key, tuple[float, asyncio.Task[Value]]] = {}

    async def get(self, key: Key, read: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """The value of a key, by `read` if it was not read lately. Raises what `read` raises."""
        known = self._reads.get(key)
        if known is None or known[0] <= time.monotonic() or _has_failed(known[1]):
            if len(self._reads) >= MAX_RECENT:
                self._reads.clear()
            known = self._reads[key] = (time.monotonic() + self._seconds, asyncio.create_task(read()))
        return await asyncio.shield(known[1])


def _has_failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
