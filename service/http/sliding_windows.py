"""Sliding window counters in Redis or in this process: whether a cost fits, and both windows afterwards, in one call.

The algorithm is the library `limits`'s. In Redis its two Lua scripts, which count and read, run as one: a decision
costs one round trip, by Redis's clock, which it shares with those that are made at the same time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from limits.aio.storage import MemoryStorage
from limits.aio.storage.redis.bridge import RedisBridge
from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import NoScriptError

PREFIX = "tunegate:rates"
_SCRIPT = f"""
local function acquire(KEYS, ARGV)
{RedisBridge.SCRIPT_ACQUIRE_SLIDING_WINDOW.decode()}
end
local function read(KEYS, ARGV)
{RedisBridge.SCRIPT_SLIDING_WINDOW.decode()}
end
local admitted = acquire(KEYS, ARGV)
local windows = read(KEYS, {{ARGV[2]}})
return {{admitted and 1 or 0, windows[1] or 0, windows[2], windows[3] or 0, windows[4]}}
"""
_SHA1 = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
"""By which Redis knows the script."""


@dataclass(frozen=True, slots=True, eq=False)
class Cost:
    """What is to be counted: a cost, against the limit `name` in a window of so many seconds."""

    name: str
    limit: int
    cost: int
    seconds: int


class Windows(NamedTuple):
    """The previous and the current window of a limit: their counts, and the seconds until each expires."""

    admitted: bool
    previous: int
    previous_seconds: float
    current: int
    current_seconds: float


class SlidingWindows(Protocol):
    """Counters by name."""

    async def acquire(self, costs: Sequence[Cost]) -> list[Windows]:
        """Count each cost that fits, in order, each by itself. Raises what Redis raises."""

    async def is_available(self) -> bool:
        """Whether the counters can be reached. Raises what Redis raises."""


class RedisWindows:
    """Counters that all processes share."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._redis = Redis(connection_pool=pool)

    async def acquire(self, costs: Sequence[Cost]) -> list[Windows]:
        """Count and read in one round trip, or in three when Redis does not have the script, as after a restart."""
        found = await self._run(costs)
        unknown = [place for place, each in enumerate(found) if isinstance(each, NoScriptError)]
        if unknown:
            await self._redis.script_load(_SCRIPT)
            for place, each in zip(unknown, await self._run([costs[place] for place in unknown]), strict=True):
                found[place] = each
        for each in found:
            if isinstance(each, Exception):
                raise each
        return [_windows(each) for each in found]

    async def is_available(self) -> bool:
        """Ping Redis."""
        return bool(await self._redis.ping())

    async def _run(self, costs: Sequence[Cost]) -> list[Any]:
        """The script's result for each cost, or the error. The braces put both keys on one node of a cluster."""
        pipeline = self._redis.pipeline(transaction=False)
        for each in costs:
            current = f"{PREFIX}:{{{each.name}}}"
            pipeline.evalsha(_SHA1, 2, f"{current}/-1", current, *map(str, (each.limit, each.seconds, each.cost)))
        results: list[Any] = await pipeline.execute(raise_on_error=False)
        return results


class LocalWindows:
    """Counters of this process, when there is no Redis."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()

    async def acquire(self, costs: Sequence[Cost]) -> list[Windows]:
        """Count in this process's memory."""
        return [await self._acquire(each) for each in costs]

    async def is_available(self) -> bool:
        """Always."""
        return True

    async def _acquire(self, of: Cost) -> Windows:
        admitted = await self._storage.acquire_sliding_window_entry(of.name, of.limit, of.seconds, of.cost)
        return Windows(admitted, *await self._storage.get_sliding_window(of.name, of.seconds))


def _windows(result: Sequence[Any]) -> Windows:
    admitted, previous, previous_ms, current, current_ms = (max(0, int(each or 0)) for each in result)
    return Windows(bool(admitted), previous, previous_ms / 1000, current, current_ms / 1000)
