"""Counting requests in Redis against limits per minute. Knows no domain: who is limited to what comes in as arguments.

The algorithm is `limits`' sliding window counter: one Lua script decides and counts, so any number of processes
together admit no more than the limit, in constant memory, by Redis's clock.

Redis is no truth here and must not become a cause of failures: when it is away or slow, requests are let through
uncounted. A circuit then leaves it alone, looked after in the background, so that no request waits for it.
"""

import asyncio
import math
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from limits.aio.storage import MemoryStorage, RedisStorage
from prometheus_client import Counter
from redis.asyncio import ConnectionPool

from service.wakeups import REDIS_AWAY

log = structlog.get_logger()

UNAVAILABLE = Counter(
    "tunegate_rate_limiter_unavailable_total", "Requests let through uncounted, since Redis was away or slow."
)

PREFIX = "tunegate:rates"
CONNECTION = {"socket_connect_timeout": 1.0, "socket_timeout": 1.0}
WINDOW_SECONDS = 60
PATIENCE_SECONDS = 0.05
SILENCE_SECONDS = 0.15
"""So long without any answer opens the circuit; one that cannot be reached opens it at once."""

LOOK_AGAIN_SECONDS = 2.0
SAY_SO_SECONDS = 60.0
AT_A_TIME = 4
"""Questions to Redis at a time: a burst waits here for its turn, and that is not Redis being slow."""

WARM_SECONDS = 1.0
STALLED = 1.1
"""A wait that took so many times as long as it should says that this process stood still, not Redis."""

MAX_STALLS = 20
MAX_RETRY_AFTER_SECONDS = 120

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a limit says to a request. `retry_after_seconds` is None for one that is admitted."""

    limit: int
    remaining: int
    reset_seconds: float
    retry_after_seconds: int | None

    def headers(self, what: str) -> list[tuple[bytes, bytes]]:
        """OpenAI's three headers about `what`: `requests` or `tokens`."""
        shown = {"limit": str(self.limit), "remaining": str(self.remaining), "reset": duration(self.reset_seconds)}
        return [(f"x-ratelimit-{name}-{what}".encode(), value.encode()) for name, value in shown.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A sliding window counter: the window before, which fades out, and the current one. Times in seconds."""

    previous: int
    previous_fades_in: float
    current: int
    current_ends_in: float

    def remaining(self, limit: int) -> int:
        """How much may still come now."""
        faded = math.floor(self.previous * self.previous_fades_in / WINDOW_SECONDS)
        return max(0, limit - faded - self.current)

    def reset_seconds(self) -> float:
        """When nothing of what came counts any more."""
        return self.current_ends_in + WINDOW_SECONDS if self.current else self.previous_fades_in

    def room_in_seconds(self, limit: int, cost: int) -> float:
        """When `cost` more fit if nothing else comes. For a `cost` that fits at all, at most two windows."""
        if self.remaining(limit) >= cost:
            return 0.0
        room = limit - cost + 1
        if self.current < room:  # it fits once the window before has faded to less than this
            return max(0.0, self.previous_fades_in - (room - self.current) * WINDOW_SECONDS / self.previous)
        # The current window becomes the one before, and has to fade likewise.
        return self.current_ends_in + WINDOW_SECONDS * (1 - room / self.current)


class RateLimiter:
    """Counts in Redis, or without a URL in this process alone. One per process."""

    def __init__(self, redis_url: str) -> None:
        self._pool = ConnectionPool.from_url(redis_url, **CONNECTION) if redis_url else None
        self._storage: RedisStorage | MemoryStorage = (
            RedisStorage(
                _limits_url(redis_url),
                implementation="redispy",
                key_prefix=PREFIX,
                connection_pool=self._pool,  # type: ignore[arg-type]  # its stub knows plain options only
            )
            if redis_url
            else MemoryStorage()
        )
        self._turns = asyncio.Semaphore(AT_A_TIME)
        self._heard_at = -math.inf
        self._unheard_since: float | None = None
        self._said_at = -math.inf
        self._recovery: asyncio.Task[None] | None = None

    async def warm(self) -> None:
        """Connect before the first request comes, so that none has to wait for it."""
        try:
            async with asyncio.timeout(WARM_SECONDS):
                await asyncio.gather(*(self._count("warm", 1, 1) for _ in range(AT_A_TIME)))
        except REDIS_AWAY as error:
            self._open(error)

    async def take(self, name: str, *, per_minute: int, cost: int = 1) -> Verdict | None:
        """Count `cost` against the limit called `name`, if it fits. None: nobody knows, so let it through."""
        if self._recovery is not None:
            UNAVAILABLE.inc()
            return None
        async with self._turns:
            if self._recovery is not None:
                UNAVAILABLE.inc()
                return None
            try:
                verdict = await self._punctual(self._count(name, per_minute, cost))
            except REDIS_AWAY as error:
                self._failed(error)
                return None
        return verdict

    async def close(self) -> None:
        """Disconnect."""
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
        if self._pool is not None:
            await self._pool.disconnect()

    async def _count(self, name: str, per_minute: int, cost: int) -> Verdict:
        admitted = await self._storage.acquire_sliding_window_entry(name, per_minute, WINDOW_SECONDS, cost)
        previous, previous_ttl, current, current_ttl = await self._storage.get_sliding_window(name, WINDOW_SECONDS)
        window = Window(
            previous=previous,
            previous_fades_in=previous_ttl,
            current=current,
            current_ends_in=max(0.0, current_ttl - WINDOW_SECONDS),
        )
        retry_after = None
        if not admitted:
            seconds = math.ceil(window.room_in_seconds(per_minute, min(cost, per_minute)))
            retry_after = min(max(1, seconds), MAX_RETRY_AFTER_SECONDS)
        return Verdict(
            limit=per_minute,
            remaining=window.remaining(per_minute),
            reset_seconds=window.reset_seconds(),
            retry_after_seconds=retry_after,
        )

    def _failed(self, error: Exception) -> None:
        UNAVAILABLE.inc()
        now = time.monotonic()
        since = self._unheard_since = self._unheard_since or now - PATIENCE_SECONDS
        if not isinstance(error, TimeoutError) or now - since >= SILENCE_SECONDS - PATIENCE_SECONDS / 10:
            self._open(error)

    def _open(self, error: Exception) -> None:
        if self._recovery is None:
            self._recovery = asyncio.create_task(self._recover())
        if time.monotonic() - self._said_at >= SAY_SO_SECONDS:
            self._said_at = time.monotonic()
            log.warning("rate_limiter.unavailable", error=type(error).__name__)

    async def _recover(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            try:
                if await self._punctual(self._storage.check()):
                    break
            except REDIS_AWAY:
                continue
        self._recovery = None

    async def _punctual(self, question: Coroutine[Any, Any, Answer]) -> Answer:
        """The answer, or `TimeoutError` when nothing is heard from Redis for longer than we have patience.

        Time in which our own event loop stood still does not count, nor while answers to others come in.
        """
        task = asyncio.create_task(question)
        try:
            for _ in range(MAX_STALLS):
                began = time.monotonic()
                await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
                now = time.monotonic()
                if task.done():
                    answer = task.result()
                    self._heard_at, self._unheard_since = now, None
                    return answer
                if now - began < PATIENCE_SECONDS * STALLED and now - self._heard_at > PATIENCE_SECONDS:
                    break
            raise TimeoutError
        finally:
            if not task.done():
                task.cancel()


def duration(seconds: float) -> str:
    """A time as OpenAI's headers give it, which is Go's form: `6ms`, `1.5s`, `1m0s`."""
    milliseconds = max(0, round(seconds * 1000))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _limits_url(redis_url: str) -> str:
    return f"async+{redis_url}" if not redis_url.startswith("unix") else f"async+redis+{redis_url}"
