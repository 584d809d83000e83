"""One leader over all workers: the worker that holds an advisory lock runs the periodic tasks.

The lock belongs to a database session. It is released when the leader stops, is killed, loses its connection, or says
nothing for `SILENT_SECONDS`, as when it is stopped by a signal (SIGSTOP): Postgres then ends the session by itself, and
another worker takes over. Every task may run twice, so a leader that comes back late does no harm.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.database import advisory_locks

log = structlog.get_logger()

RETRY_SECONDS = 2.0
PING_SECONDS = 5.0
SILENT_SECONDS = 20


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """A task of the leader: it runs `every_seconds`, and anew after an error."""

    name: str
    every_seconds: float
    run: Callable[[], Awaitable[object]]


async def lead(engine: AsyncEngine, tasks: Sequence[PeriodicTask], *, retry_seconds: float = RETRY_SECONDS) -> None:
    """Run the tasks whenever this worker is the leader, until cancelled. Holds one connection of `engine`."""
    while True:
        try:
            async with engine.connect() as connection:
                session = await connection.execution_options(isolation_level="AUTOCOMMIT")
                try:
                    await _wait_until_elected(session, retry_seconds)
                    await _run_while_leading(session, tasks)
                finally:
                    await session.invalidate()  # ends the database session, and with it the lock
        except Exception as error:
            log.warning("leader.database_away", error=repr(error))
        await asyncio.sleep(retry_seconds)


async def _wait_until_elected(session: AsyncConnection, retry_seconds: float) -> None:
    while True:
        if await session.scalar(advisory_locks.MAINTENANCE_LEADER.try_session()):
            return
        await asyncio.sleep(retry_seconds)


async def _run_while_leading(session: AsyncConnection, tasks: Sequence[PeriodicTask]) -> None:
    """Raises when the lock's session has ended; the tasks are cancelled then."""
    await session.execute(text(f"SET idle_session_timeout = '{SILENT_SECONDS}s'"))
    log.info("leader.elected")
    running = [asyncio.create_task(_repeat(task)) for task in tasks]
    try:
        while True:
            await asyncio.sleep(PING_SECONDS)
            await session.execute(text("SELECT 1"))
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _repeat(task: PeriodicTask) -> None:
    while True:
        await asyncio.sleep(task.every_seconds)
        try:
            await task.run()
        except Exception as error:
            log.error("periodic_task.failed", task=task.name, exc_info=error)
