"""The doorbell: the one module that knows ARQ's enqueue.

A hint says "look at this row now". It is rung after the commit, within 250 ms, and lost without harm: the workers'
reconciler claims whatever is due. Arguments are ids only, the serializer is JSON (ARQ's default, pickle, would run
code for whoever can write to Redis), and the ARQ id carries the row's version so that one change rings once.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from arq.connections import ArqRedis, RedisSettings, create_pool
from sqlalchemy.ext.asyncio import AsyncSession

from service.outages import REDIS_AWAY

log = structlog.get_logger()

QUEUE = "tunegate"
RING_SECONDS = 0.25
SILENCE_SECONDS = 5.0
"""A Redis that keeps a command waiting for so long is taken to be away; redis-py would wait for ever."""
_HINTS = "tunegate_hints"


@dataclass(frozen=True, slots=True)
class Hint:
    """Which worker function should look at which row, at which version of it."""

    function: str
    row_id: str
    version: str


def hint(session: AsyncSession, function: str, row_id: str, version: object) -> None:
    """Leave a hint in this transaction; it is rung when the transaction has committed."""
    session.info.setdefault(_HINTS, []).append(Hint(function, row_id, str(version)))


def take_hints(session: AsyncSession) -> list[Hint]:
    """The hints of a finished transaction, once."""
    hints: list[Hint] = session.info.pop(_HINTS, [])
    return hints


def redis_settings(url: str) -> RedisSettings:
    """ARQ's connection settings: short timeouts, few tries, since Redis may be away."""
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
    """Connections to Redis, none of which waits for ever. Raises one of `REDIS_AWAY`.

    ARQ has no setting for the time of a command, so it is set on the pool, and the connection that was made is closed.
    """
    pool = await create_pool(
        redis_settings(url), job_serializer=serialize, job_deserializer=deserialize, default_queue_name=QUEUE
    )
    pool.connection_pool.connection_kwargs.update(socket_timeout=SILENCE_SECONDS, socket_keepalive=True)
    await pool.connection_pool.disconnect()
    return pool


class Doorbell:
    """Rings in the background. Without a URL, or with Redis away, it rings nowhere and nothing is lost."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._pool: ArqRedis | None = None
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def ring(self, hints: list[Hint]) -> None:
        """Send the hints without making the caller wait."""
        if not hints or not self._url:
            return
        task = asyncio.create_task(self._send(hints))
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
        """Finish what is being rung and disconnect."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=RING_SECONDS)
        if self._pool is not None:
            await self._pool.aclose()
            self._pool = None

    async def _send(self, hints: list[Hint]) -> None:
        try:
            async with asyncio.timeout(RING_SECONDS):
                pool = await self._connected()
                for each in hints:
                    await pool.enqueue_job(
                        each.function,
                        each.row_id,
                        _job_id=f"{each.function}:{each.row_id}:{each.version}",
                        _queue_name=QUEUE,
                    )
        except REDIS_AWAY as error:
            log.info("doorbell.unheard", hints=len(hints), error=type(error).__name__)

    async def _connected(self) -> ArqRedis:
        async with self._lock:
            if self._pool is None:
                self._pool = await open_pool(self._url)
            return self._pool
