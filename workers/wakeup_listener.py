"""Receives wake-ups with ARQ's worker and passes them to the dispatcher. No step runs inside ARQ."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from arq.worker import Function, Worker, func

from service.database import leased_work
from service.database.leased_work import LeasedWork
from service.wakeups import QUEUE, REDIS_UNAVAILABLE, deserialize, open_pool, serialize
from workers.dispatcher import Dispatcher

log = structlog.get_logger()

RESTART_SECONDS = 2.0
POLL_SECONDS = 0.02
"""How often ARQ asks Redis for wake-ups, since it cannot wait for one. Every wake-up waits for up to this time.

An idle worker spends 1.8 % of a core on it; with 0.1 s it was 0.4 %.
"""


async def listen(redis_url: str, dispatcher: Dispatcher) -> None:
    """Receive wake-ups until cancelled. ARQ's worker ends when Redis is unavailable, and is started again."""
    while True:
        try:
            pool = await open_pool(redis_url)
        except REDIS_UNAVAILABLE as error:
            log.warning("wakeups.redis_unavailable", error=type(error).__name__)
            await asyncio.sleep(RESTART_SECONDS)
            continue
        listener = Worker(
            functions=functions_of(dispatcher),
            queue_name=QUEUE,
            redis_pool=pool,
            handle_signals=False,
            keep_result=0,
            max_tries=1,
            max_jobs=100,
            poll_delay=POLL_SECONDS,
            job_serializer=serialize,
            job_deserializer=deserialize,
        )
        try:
            await listener.async_run()
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await listener.close()
            raise
        except Exception as error:
            log.warning("wakeups.redis_unavailable", error=type(error).__name__)
        with contextlib.suppress(Exception):
            await listener.close()
        await asyncio.sleep(RESTART_SECONDS)


def functions_of(dispatcher: Dispatcher) -> list[Function]:
    """ARQ's functions: one for each kind of leased work, under its name."""
    return [
        func(_wake(work, dispatcher), name=work.name, keep_result=0, max_tries=1, timeout=30)
        for work in leased_work.ALL
    ]


def _wake(work: LeasedWork, dispatcher: Dispatcher) -> Callable[..., Coroutine[Any, Any, None]]:
    async def wake(ctx: dict[str, Any], row_id: str) -> None:
        await dispatcher.wake(work.name)

    return wake
