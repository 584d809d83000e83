"""The worker process: the dispatcher of leased work, the listener for wake-ups, and the leader of periodic tasks."""

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import structlog

from service.database.encryption import sealer_of
from service.database.engine import create_engine
from service.logs import configure
from service.monitoring.internal_listener import InternalListener
from service.monitoring.readiness import ReadinessCheck
from service.settings import Settings
from service.start_checks import check_start
from service.unknown_settings import warn_of_unknown_settings
from service.upstreams.metrics import measure
from workers import wakeup_listener
from workers.context import Context, close_context, open_context
from workers.dispatcher import Dispatcher
from workers.heartbeat import Heartbeat
from workers.maintenance.leader import RETRY_SECONDS, PeriodicTask, lead
from workers.maintenance.tasks import periodic_tasks
from workers.registry import dispatcher_of

log = structlog.get_logger()

T = TypeVar("T")

GRACE_SECONDS = 20.0
END_SECONDS = 30.0
"""The process is ended by force this long after a stop signal; its leases expire."""

CANCEL_AGAIN_SECONDS = 1.0
SILENT_SECONDS = 60.0
"""`/livez` fails when the dispatcher has begun no round for this time, longer than its waits for a silent database."""


async def run(
    settings: Settings,
    *,
    tasks: Callable[[Context], Sequence[PeriodicTask]] = periodic_tasks,
    election_retry_seconds: float = RETRY_SECONDS,
    grace_seconds: float = GRACE_SECONDS,
    end_seconds: float = END_SECONDS,
) -> None:
    """Work until SIGTERM or SIGINT, then let running steps and calls end within the grace; a second signal cuts it.

    `tasks` are the leader's periodic tasks; a worker that does not lead retries every `election_retry_seconds`. The
    process ends `end_seconds` after the first signal at the latest, even if something is unresponsive.

    The internal listener answers from the start, while Postgres is awaited too, until the end.

    Raises `SettingsError` for a configuration or a schema that it cannot work with.
    """
    configure(settings.log_level, settings.log_format)
    warn_of_unknown_settings(os.environ)
    check_start(settings, port=settings.port)
    logging.getLogger("arq").setLevel(logging.ERROR)
    stop, cut = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        if not stop.is_set():
            _exit_later(end_seconds)
        (cut if stop.is_set() else stop).set()

    async with InternalListener(settings).serving() as internal:
        starting = asyncio.create_task(open_context(settings))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, on_signal)
        ctx = await _unless(stop, starting)
        if ctx is None:
            return
        dispatcher = dispatcher_of(ctx)
        internal.ready = ReadinessCheck(ctx.db, ctx.storage, sealer_of(settings))
        internal.measure = partial(measure, ctx.db)
        internal.fault = partial(_fault, dispatcher)
        heartbeat = Heartbeat(ctx.db, dispatcher)
        leader_engine = create_engine(settings.database_url, pool_size=1, application="tunegate-leader")
        leader = lead(leader_engine, tasks(ctx), retry_seconds=election_retry_seconds)
        work: list[Any] = [dispatcher.run(), heartbeat.run(), leader]
        if settings.redis_url:
            work.append(wakeup_listener.listen(settings.redis_url, dispatcher))
        running = [asyncio.create_task(each) for each in work]
        log.info("worker.started", instance=ctx.instance)
        await stop.wait()
        log.info("worker.stopping")
        ctx.stopping.set()
        grace_ends_at = time.monotonic() + grace_seconds
        await _unless(cut, asyncio.create_task(dispatcher.stop(grace_seconds)))
        await _unless(cut, asyncio.create_task(ctx.detached_calls.wait(grace_ends_at - time.monotonic())))
        await _cancel(running)
        with contextlib.suppress(Exception):
            await heartbeat.end()
        await leader_engine.dispose()
        await close_context(ctx)


def _fault(dispatcher: Dispatcher) -> str | None:
    if dispatcher.silent_seconds < SILENT_SECONDS:
        return None
    return f"the dispatcher has begun no round for {dispatcher.silent_seconds:.0f} s"


def _exit_later(end_seconds: float) -> None:
    """End the process by force if its shutdown takes too long, as with an unresponsive database.

    The timer needs no interpreter, so it works even while an extension occupies it; all stacks are written before.
    """
    faulthandler.dump_traceback_later(end_seconds, exit=True)


async def _cancel(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    """Cancel tasks, and again every second those that go on: ARQ and redis-py can swallow a cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


async def _unless(event: asyncio.Event, task: "asyncio.Task[T]") -> T | None:
    """The task's result, or None if the event is set first; then the task is cancelled."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None
