"""One leader among all workers: the worker that holds an advisory lock runs the periodic tasks.

The lock belongs to a database session. It is released when the leader stops, is killed, loses its connection, or sends
nothing for `silent_seconds`, as after a SIGSTOP: Postgres then ends the session (`idle_session_timeout`), and another
worker takes over. A former leader that resumes may run a task a second time, so every task must be safe to repeat.
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
SILENT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """A task of the leader. It first runs `every_seconds` after the election, and again after an error.

    A run that takes longer than `limit_seconds` is cancelled: the leader pings all the while, so no other worker would
    take a task over that hangs.
    """

    name: str
    every_seconds: float
    run: Callable[[], Awaitable[object]]
    limit_seconds: float = 900.0


async def lead(
    engine: AsyncEngine,
    tasks: Sequence[PeriodicTask],
    *,
    retry_seconds: float = RETRY_SECONDS,
    ping_seconds: float = PING_SECONDS,
    silent_seconds: float = SILENT_SECONDS,
) -> None:
    """Run the tasks whenever this worker is the leader, until cancelled. Occupies one connection of `engine`.

    A leader queries its session every `ping_seconds`; Postgres ends a session that was silent for `silent_seconds`.
    """
    while True:
        try:
            async with engine.connect() as connection:
                session = await connection.execution_options(isolation_level="AUTOCOMMIT")
                try:
                    await _wait_until_elected(session, retry_seconds)
                    timeout = f"SET idle_session_timeout = {round(silent_seconds * 1000)}"
                    await session.execute(text(timeout))
                    log.info("leader.elected")
                    await _run_while_leading(session, tasks, ping_seconds)
                finally:
                    await session.invalidate()  # ends the database session, and with it the lock
        except Exception as error:
            log.warning("leader.session_lost", error=repr(error))
        await asyncio.sleep(retry_seconds)


async def _wait_until_elected(session: AsyncConnection, retry_seconds: float) -> None:
    while True:
        if await session.scalar(advisory_locks.MAINTENANCE_LEADER.try_session()):
            return
        await asyncio.sleep(retry_seconds)


async def _run_while_leading(session: AsyncConnection, tasks: Sequence[PeriodicTask], ping_seconds: float) -> None:
    """Raises when the lock's session has ended; the tasks are cancelled then."""
    running = [asyncio.create_task(_repeat(task)) for task in tasks]
    try:
        while True:
            await asyncio.sleep(ping_seconds)
            await session.execute(text("SELECT 1"))
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _repeat(task: PeriodicTask) -> None:
    while True:
        await asyncio.sleep(task.every_seconds)
        try:
            async with asyncio.timeout(task.limit_seconds):
                await task.run()
        except Exception as error:
            log.error("periodic_task.failed", task=task.name, exc_info=error)
