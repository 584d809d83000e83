"""Look-ups that share queries, so that their number does not decide how many connections they use.

A caller without a key can cause a look-up with every request. With a query for each, a flood would occupy the
pool and everybody would wait behind it. Here at most `max_queries` run at a time, and what is asked for meanwhile goes
out together with the next one: a flood makes queries larger, not more, and a look-up waits for one query and its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")

MAX_QUERIES = 2
MAX_KEYS = 500
"""Keys of one query."""


class BatchedLookups(Generic[Key, Found]):
    """Finds values by `query`, which gets the keys and returns what it found. A query begins after it was asked for."""

    def __init__(
        self,
        query: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Found]]],
        *,
        max_queries: int = MAX_QUERIES,
        max_keys: int = MAX_KEYS,
    ) -> None:
        self._query = query
        self._max_queries = max_queries
        self._max_keys = max_keys
        self._waiting: dict[Key, asyncio.Future[Found | None]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def find(self, key: Key) -> Found | None:
        """What the query finds for the key, or None. Raises what the query raises."""
        found = self._waiting.get(key)
        if found is None:
            found = self._waiting[key] = asyncio.get_running_loop().create_future()
            if len(self._running) < self._max_queries:
                task = asyncio.create_task(self._run())
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        return await asyncio.shield(found)

    async def _run(self) -> None:
        while self._waiting:
            batch = dict(islice(self._waiting.items(), self._max_keys))
            for key in batch:
                del self._waiting[key]
            try:
                values = await self._query(list(batch))
            except Exception as error:
                for each in batch.values():
                    each.set_exception(error)
            else:
                for key, each in batch.items():
                    each.set_result(values.get(key))
