"""Sliding window counters in Redis or in this process: whether a cost fits, and both windows afterwards, in one call.

The algorithm is the library `limits`'s. In Redis its two Lua scripts, which count and read, run as one: a decision
costs one round trip, by Redis's clock.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from limits.aio.storage import MemoryStorage
from limits.aio.storage.redis.bridge import RedisBridge
from redis.asyncio import ConnectionPool, Redis

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


class Windows(NamedTuple):
    """The previous and the current window of a limit: their counts, and the seconds until each expires."""

    admitted: bool
    previous: int
    previous_seconds: float
    current: int
    current_seconds: float


class SlidingWindows(Protocol):
    """Counters by name."""

    async def acquire(self, name: str, *, limit: int, cost: int, seconds: int) -> Windows:
        """Count `cost` against `limit` in a window of so many seconds, if it fits."""

    async def is_available(self) -> bool:
        """Whether the counters can be reached. Raises what Redis raises."""


class RedisWindows:
    """Counters that all processes share."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._redis = Redis(connection_pool=pool)
        self._script = self._redis.register_script(_SCRIPT)

    async def acquire(self, name: str, *, limit: int, cost: int, seconds: int) -> Windows:
        """Count and read in one round trip. The braces put both keys on one node of a cluster."""
        current = f"{PREFIX}:{{{name}}}"
        found = await self._script([f"{current}/-1", current], [limit, seconds, cost])
        admitted, previous, previous_ms, current_count, current_ms = (max(0, int(each or 0)) for each in found)
        return Windows(bool(admitted), previous, previous_ms / 1000, current_count, current_ms / 1000)

    async def is_available(self) -> bool:
        """Ping Redis."""
        return bool(await self._redis.ping())


class LocalWindows:
    """Counters of this process, when there is no Redis."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()

    async def acquire(self, name: str, *, limit: int, cost: int, seconds: int) -> Windows:
        """Count in this process's memory."""
        admitted = await self._storage.acquire_sliding_window_entry(name, limit, seconds, cost)
        return Windows(admitted, *await self._storage.get_sliding_window(name, seconds))

    async def is_available(self) -> bool:
        """Always."""
        return True
