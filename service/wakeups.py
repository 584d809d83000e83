"""Sends wake-ups through ARQ, which tell the workers that a row of leased work is due. Only this module enqueues.

A wake-up is sent after the commit, within 250 ms, and may be lost without harm: every worker claims due rows once a
second. It contains ids only. The serializer is JSON, since ARQ's default, pickle, would execute code from anybody who
can write to Redis. The ARQ job id contains the row's version, so that one change causes one wake-up.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from arq.connections import ArqRedis, RedisSettings, create_pool
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncSession

from service.errors import SettingsError

log = structlog.get_logger()

QUEUE = "tunegate"
SEND_SECONDS = 0.25
SILENCE_SECONDS = 5.0
"""The timeout of a Redis command, after which Redis counts as unavailable; redis-py would wait without limit."""

REDIS_UNAVAILABLE = (RedisError, OSError, RuntimeError)
"""Exceptions that mean Redis is unavailable.

uvloop raises `RuntimeError` for a write to a connection that was just reset: the event loop notices the reset before
redis-py does, which does not translate the error. (asyncpg notices it in time, and anyio, which HTTP clients use,
translates it.)
"""

_WAKEUPS = "tunegate_wakeups"


@dataclass(frozen=True, slots=True)
class Wakeup:
    """A row of leased work that is due: its kind, its id, and the version of the change."""

    work: str
    row_id: str
    version: str


def add_wakeup(session: AsyncSession, wakeup: Wakeup) -> None:
    """Attach a wake-up to this transaction; it is sent when the transaction has committed."""
    session.info.setdefault(_WAKEUPS, []).append(wakeup)


def take_wakeups(session: AsyncSession) -> list[Wakeup]:
    """Remove and return the wake-ups of a committed transaction."""
    wakeups: list[Wakeup] = session.info.pop(_WAKEUPS, [])
    return wakeups


def check_redis_url(url: str) -> None:
    """Raise `SettingsError` if `url` is no address of a Redis. An empty one means that there is none."""
    if not url:
        return
    try:
        RedisSettings.from_dsn(url)
    except (RuntimeError, ValueError):
        raise SettingsError(
            "REDIS_URL is not a URL like redis://:password@host:6379/0; rediss:// is with TLS, unix:// for a socket."
        ) from None


def redis_settings(url: str) -> RedisSettings:
    """ARQ's connection settings: a short timeout and no retries, since Redis may be unavailable."""
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
    """A connection pool whose commands have a timeout. Raises one of `REDIS_UNAVAILABLE`.

    ARQ has no setting for a command's timeout, so it is set on the pool, and the first connection is closed.
    """
    pool = await create_pool(
        redis_settings(url), job_serializer=serialize, job_deserializer=deserialize, default_queue_name=QUEUE
    )
    pool.connection_pool.connection_kwargs.update(socket_timeout=SILENCE_SECONDS, socket_keepalive=True)
    await pool.connection_pool.disconnect()
    return pool


class Wakeups:
    """Sends wake-ups in the background. Without a URL or Redis it sends none, and no work is lost."""

    def __init__(self, redis_url: str) -> None:
        """Raises `SettingsError` for a malformed URL."""
        check_redis_url(redis_url)
        self._url = redis_url
        self._pool: ArqRedis | None = None
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, wakeups: list[Wakeup]) -> None:
        """Send the wake-ups in the background."""
        if not wakeups or not self._url:
            return
        task = asyncio.create_task(self._send(wakeups))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def configured(self) -> bool:
        """Whether a Redis URL is set."""
        return bool(self._url)

    async def ping(self) -> bool:
        """Whether Redis responds now."""
        if not self._url:
            return False
        try:
            async with asyncio.timeout(1):
                pool = await self._connected()
                await pool.ping()
        except REDIS_UNAVAILABLE:
            return False
        return True

    async def close(self) -> None:
        """Send the pending wake-ups and disconnect."""
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
        except REDIS_UNAVAILABLE as error:
            log.info("wakeups.not_sent", wakeups=len(wakeups), error=type(error).__name__)

    async def _connected(self) -> ArqRedis:
        async with self._lock:
            if self._pool is None:
                self._pool = await open_pool(self._url)
            return self._pool
