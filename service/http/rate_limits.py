"""Counts requests in Redis against limits per minute. Independent of the domain: names and limits are arguments.

The algorithm is a sliding window counter (`sliding_windows`): one Lua script decides and counts, so any number of
processes together admit no more than the limit, in constant memory, by Redis's clock.

A failure of Redis must not fail requests: when it is unavailable or slow, they are admitted uncounted. A circuit
breaker then keeps requests from waiting for it, and a background task closes the circuit when Redis responds again.
"""

import asyncio
import math
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from prometheus_client import Counter
from redis.asyncio import ConnectionPool

from service.database.batched_lookups import BatchedLookups
from service.fair_places import FairPlaces
from service.http.sliding_windows import Cost, LocalWindows, RedisWindows, SlidingWindows, Windows
from service.wakeups import REDIS_UNAVAILABLE

log = structlog.get_logger()

UNAVAILABLE = Counter(
    "tunegate_rate_limiter_unavailable_total", "Requests admitted uncounted, because Redis was unavailable or slow."
)

CONNECTION = {"socket_connect_timeout": 1.0, "socket_timeout": 1.0}
WINDOW_SECONDS = 60
RESPONSE_SECONDS = 0.05
SILENCE_SECONDS = 0.15
"""Without any response for this time the circuit opens; when Redis cannot be reached, it opens at once."""

RECOVERY_CHECK_SECONDS = 2.0
LOG_EVERY_SECONDS = 60.0
MAX_CONCURRENT = 64
"""Concurrent counts: a burst queues in this process, where waiting does not count as Redis being slow. Each limit has a
share of them, so that a burst against one does not delay requests that count against another."""

MAX_ROUND_TRIPS = 2
"""Concurrent round trips to Redis. What is to be counted meanwhile shares the next one."""

WARM_SECONDS = 1.0
STALL_FACTOR = 1.1
"""A wait that takes this many times as long as intended means that this process stalled, not Redis."""

MAX_STALLS = 20
MAX_RETRY_AFTER_SECONDS = 120

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A limit's decision about one request. `retry_after_seconds` is None if it is admitted."""

    limit: int
    remaining: int
    reset_seconds: float
    retry_after_seconds: int | None

    def headers(self, unit: str) -> list[tuple[bytes, bytes]]:
        """OpenAI's three rate limit headers for `unit`, which is `requests` or `tokens`."""
        shown = {"limit": str(self.limit), "remaining": str(self.remaining), "reset": duration(self.reset_seconds)}
        return [(f"x-ratelimit-{name}-{unit}".encode(), value.encode()) for name, value in shown.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A sliding window counter: the current window's count, and the previous one's, whose weight falls linearly to 0.

    `previous_fades_in` and `current_ends_in` are in seconds."""

    previous: int
    previous_fades_in: float
    current: int
    current_ends_in: float

    def remaining(self, limit: int) -> int:
        """The cost that is still admitted now."""
        faded = math.floor(self.previous * self.previous_fades_in / WINDOW_SECONDS)
        return max(0, limit - faded - self.current)

    def reset_seconds(self) -> float:
        """Seconds until nothing that was counted has any weight."""
        return self.current_ends_in + WINDOW_SECONDS if self.current else self.previous_fades_in

    def room_in_seconds(self, limit: int, cost: int) -> float:
        """Seconds until `cost` fits, if nothing else is counted: at most two windows for a cost below the limit."""
        if self.remaining(limit) >= cost:
            return 0.0
        room = limit - cost + 1
        if self.current < room:  # it fits once the previous window has faded below this
            return max(0.0, self.previous_fades_in - (room - self.current) * WINDOW_SECONDS / self.previous)
        # The current window becomes the previous one and must fade in turn.
        return self.current_ends_in + WINDOW_SECONDS * (1 - room / self.current)


class RateLimiter:
    """Counts in Redis, or in this process alone when there is no URL. One per process."""

    def __init__(self, redis_url: str) -> None:
        self._pool = ConnectionPool.from_url(redis_url, **CONNECTION) if redis_url else None
        self._windows: SlidingWindows = LocalWindows() if self._pool is None else RedisWindows(self._pool)
        self._slots = FairPlaces(MAX_CONCURRENT)
        self._counts = BatchedLookups(self._count, max_queries=MAX_ROUND_TRIPS)
        self._responded_at = -math.inf
        self._silent_since: float | None = None
        self._logged_at = -math.inf
        self._recovery: asyncio.Task[None] | None = None

    async def warm(self) -> None:
        """Connect before the first request arrives, so that none waits for the connections."""
        try:
            async with asyncio.timeout(WARM_SECONDS):
                await asyncio.gather(*(self._count([Cost("warm", 1, 1, 1)]) for _ in range(MAX_ROUND_TRIPS)))
        except REDIS_UNAVAILABLE as error:
            self._open(error)

    async def take(self, name: str, *, per_minute: int, cost: int = 1) -> Verdict | None:
        """Count `cost` against the limit `name` if it fits. None: Redis is unavailable, so the request is admitted."""
        if self._recovery is not None:
            UNAVAILABLE.inc()
            return None
        async with self._slots.occupy(name):
            if self._recovery is not None:
                UNAVAILABLE.inc()
                return None
            try:
                windows = await self._counts.find(Cost(name, per_minute, cost, WINDOW_SECONDS))
            except REDIS_UNAVAILABLE as error:
                self._failed(error)
                return None
        return None if windows is None else _verdict(windows, per_minute, cost)

    async def close(self) -> None:
        """Disconnect."""
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
        if self._pool is not None:
            await self._pool.disconnect()

    async def _count(self, costs: Sequence[Cost]) -> Mapping[Cost, Windows]:
        return dict(zip(costs, await self._timely(self._windows.acquire(costs)), strict=True))

    def _failed(self, error: Exception) -> None:
        UNAVAILABLE.inc()
        now = time.monotonic()
        since = self._silent_since = self._silent_since or now - RESPONSE_SECONDS
        if not isinstance(error, TimeoutError) or now - since >= SILENCE_SECONDS - RESPONSE_SECONDS / 10:
            self._open(error)

    def _open(self, error: Exception) -> None:
        if self._recovery is None:
            self._recovery = asyncio.create_task(self._recover())
        if time.monotonic() - self._logged_at >= LOG_EVERY_SECONDS:
            self._logged_at = time.monotonic()
            log.warning("rate_limiter.unavailable", error=type(error).__name__)

    async def _recover(self) -> None:
        while True:
            await asyncio.sleep(RECOVERY_CHECK_SECONDS)
            try:
                if await self._timely(self._windows.is_available()):
                    break
            except REDIS_UNAVAILABLE:
                continue
        self._recovery = None

    async def _timely(self, command: Coroutine[Any, Any, Result]) -> Result:
        """The command's result; raises `TimeoutError` after `RESPONSE_SECONDS` without a response from Redis.

        Time in which this process's event loop stalled does not count, nor time in which other commands get responses.
        """
        task = asyncio.create_task(command)
        try:
            for _ in range(MAX_STALLS):
                began = time.monotonic()
                await asyncio.wait({task}, timeout=RESPONSE_SECONDS)
                now = time.monotonic()
                if task.done():
                    result = task.result()
                    self._responded_at, self._silent_since = now, None
                    return result
                if now - began < RESPONSE_SECONDS * STALL_FACTOR and now - self._responded_at > RESPONSE_SECONDS:
                    break
            raise TimeoutError
        finally:
            if not task.done():
                task.cancel()


def _verdict(found: Windows, limit: int, cost: int) -> Verdict:
    window = Window(
        previous=found.previous,
        previous_fades_in=found.previous_seconds,
        current=found.current,
        current_ends_in=max(0.0, found.current_seconds - WINDOW_SECONDS),
    )
    retry_after = None
    if not found.admitted:
        seconds = math.ceil(window.room_in_seconds(limit, min(cost, limit)))
        retry_after = min(max(1, seconds), MAX_RETRY_AFTER_SECONDS)
    return Verdict(
        limit=limit,
        remaining=window.remaining(limit),
        reset_seconds=window.reset_seconds(),
        retry_after_seconds=retry_after,
    )


def duration(seconds: float) -> str:
    """A duration in the form of OpenAI's headers, which is Go's: `6ms`, `1.5s`, `1m0s`."""
    milliseconds = max(0, round(seconds * 1000))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
