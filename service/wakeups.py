"""Wake-ups: the one module that knows ARQ's enqueue.

A wake-up tells the workers that a row of leased work is due now. It is sent after the commit, within 250 ms, and may
be lost without harm: every worker claims whatever is due once a second. It carries ids only, the serializer is JSON
(ARQ's default, pickle, would run code for whoever can write to Redis), and the ARQ id carries the row's version, so
that one change wakes once.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from arq.connections import ArqRedis, RedisSettings, create_pool
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncSession

log = structlog.get_logger()

QUEUE = "tunegate"
SEND_SECONDS = 0.25
SILENCE_SECONDS = 5.0
"""A Redis that keeps a command waiting for this long counts as away; redis-py would wait without limit."""

REDIS_AWAY = (RedisError, OSError, RuntimeError)
"""What a call to Redis raises when Redis is away.

`RuntimeError` is uvloop's, for a write to a connection that ended just before: the event loop learns of a reset before
redis-py does, which lets the error out. (asyncpg learns of it in time, and anyio, below the HTTP clients, translates.)
"""

_WAKEUPS = "tunegate_wakeups"


@dataclass(frozen=True, slots=True)
class Wakeup:
    """Which row of which kind of leased work is due, at which version of it."""

    work: str
    row_id: str
    version: str


def add_wakeup(session: AsyncSession, wakeup: Wakeup) -> None:
    """Keep a wake-up with this transaction; it is sent when the transaction has committed."""
    session.info.setdefault(_WAKEUPS, []).append(wakeup)


def take_wakeups(session: AsyncSession) -> list[Wakeup]:
    """The wake-ups of a finished transaction, once."""
    wakeups: list[Wakeup] = session.info.pop(_WAKEUPS, [])
    return wakeups


def redis_settings(url: str) -> RedisSettings:
    """ARQ's connection settings: short timeouts and few attempts, since Redis may be away."""
    settings = RedisSettings.from_dsn(url)
    settings.conn_timeout = 1
    settings.conn_retries = 0
    return settings


def serialize(value: dict[str, Any]) -> bytes:
    """ARQ's job serializer."""
    return msgspec.json.encode(value, enc_hook=repr)


def deserialize(raw: bytes) -> dict[str, Any]:
    """ARQ's job deserializer."""
    value: dict[str, Any] = msgspec.json.decode(raw)
    return value


async def open_pool(url: str) -> ArqRedis:
    """Connections to Redis, none of which waits without limit. Raises one of `REDIS_AWAY`.

    ARQ has no setting for the time of a command, so it is set on the pool, and the first connection is closed.
    """
    pool = await create_pool(
        redis_settings(url), job_serializer=serialize, job_deserializer=deserialize, default_queue_name=QUEUE
    )
    pool.connection_pool.connection_kwargs.update(socket_timeout=SILENCE_SECONDS, socket_keepalive=True)
    await pool.connection_pool.disconnect()
    return pool


class Wakeups:
    """Sends wake-ups in the background. Without a URL, or while Redis is away, it sends none and nothing is lost."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._pool: ArqRedis | None = None
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, wakeups: list[Wakeup]) -> None:
        """Send the wake-ups without making the caller wait."""
        if not wakeups or not self._url:
            return
        task = asyncio.create_task(self._send(wakeups))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def configured(self) -> bool:
        """Whether there is a Redis at all."""
        return bool(self._url)

    async def ping(self) -> bool:
        """Whether Redis answers now."""
        if not self._url:
            return False
        try:
            async with asyncio.timeout(1):
                pool = await self._connected()
                await pool.ping()
        except REDIS_AWAY:
            return False
        return True

    async def close(self) -> None:
        """Finish sending and disconnect."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SEND_SECONDS)
        if self._pool is not None:
            await self._pool.aclose()
            self._pool = None

    async def _send(self, wakeups: list[Wakeup]) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                pool = await self._connected()
                for each in wakeups:
                    await pool.enqueue_job(
                        each.work,
                        each.row_id,
                        _job_id=f"{each.work}:{each.row_id}:{each.version}",
                        _queue_name=QUEUE,
                    )
        except REDIS_AWAY as error:
            log.info("wakeups.not_sent", wakeups=len(wakeups), error=type(error).__name__)

    async def _connected(self) -> ArqRedis:
        async with self._lock:
            if self._pool is None:
                self._pool = await open_pool(self._url)
            return self._pool
