"""The worker process: a reconciler that needs no Redis, and ARQ's worker beside it, which only rings its bell."""

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import structlog
from arq.worker import Worker, func
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from service.billing.abandoned_reservations import resolve_orphans
from service.billing.batcher import Cashier
from service.catalogue import base_models
from service.database.encryption import sealer_of
from service.database.engine import Database, create_engine
from service.database.migrations import refuse_unfit
from service.database.tables import (
    AdmissionTurn,
    DatasetPreparation,
    Deletion,
    FileReport,
    Gateway,
    Job,
    LeakageReport,
    Run,
    UpstreamWatch,
    WebhookDelivery,
)
from service.errors import SettingsError
from service.http.rate_limits import RateLimiter
from service.inference.metering import Meter
from service.limits.rates import RateKeeper
from service.logs import configure
from service.outages import REDIS_AWAY
from service.settings import Settings
from service.storage import Storage
from service.upstreams.accounts import Accounts, ensure_default_account
from service.wakeups import QUEUE, Doorbell, deserialize, open_pool, serialize
from service.webhooks.sender import Sender
from workers.context import Context
from workers.datasets import leakage, preparation
from workers.datasets.report import validate
from workers.datasets.validators import Validators
from workers.deletions import carry_out
from workers.dispatcher import Kind, Reconciler
from workers.heartbeat import BEAT_SECONDS, Heartbeat
from workers.jobs import account_poller, deploy, schedule
from workers.jobs.advance import advance, claimable
from workers.jobs.bulkhead import Turns
from workers.maintenance import orphaned_upstream_jobs, pruning, retirement_notices, stalled_jobs, storage_cleanup
from workers.runs import advance as runs
from workers.webhooks import deliver

log = structlog.get_logger()

T = TypeVar("T")

GRACE_SECONDS = 20.0
END_SECONDS = 30.0
"""A worker that was asked to stop is gone after so long, whatever hangs: its leases see to the rest."""

DELIVERIES = 256
"""Tries of deliveries at a time: each is a socket that mostly waits, and slow receivers must not use all of them."""

RETRIES = 64
"""The same of endpoints whose last try failed: in places of their own, so that dead receivers use up no others."""

RUNS = 8
"""Generations and comparisons that take their turn at a time; each has calls of its own under way."""

DELETIONS = 8
WATCHES = 64
"""Accounts that are listed at a time: each is a call that mostly waits, and one that hangs must not delay others."""

PRUNE_SECONDS = 600.0
BELL_RESTART_SECONDS = 2.0
BELL_POLL_SECONDS = 0.1
DATABASE_LOOK_SECONDS = 1.0
JANITOR_SECONDS = 60.0
ORPHANS_SECONDS = 15.0
MIN_SWEEP_SECONDS = 5.0


async def advance_job(ctx: dict[str, Any], job_id: str) -> None:
    """ARQ: look at this job now (upload, create, poll or settle, as its state wants)."""
    await ctx["reconciler"].look_at("jobs", job_id)


async def validate_dataset(ctx: dict[str, Any], report_id: str) -> None:
    """ARQ: make this report now."""
    await ctx["reconciler"].look_at("reports", report_id)


async def deliver_webhook(ctx: dict[str, Any], delivery_id: str) -> None:
    """ARQ: try this delivery now."""
    await ctx["reconciler"].look_at("deliveries", delivery_id)


async def prepare_dataset(ctx: dict[str, Any], preparation_id: str) -> None:
    """ARQ: make this preparation now."""
    await ctx["reconciler"].look_at("preparations", preparation_id)


async def compare_datasets(ctx: dict[str, Any], leakage_id: str) -> None:
    """ARQ: find out now what these two files share."""
    await ctx["reconciler"].look_at("comparisons", leakage_id)


async def carry_out_deletion(ctx: dict[str, Any], deletion_id: str) -> None:
    """ARQ: delete this now."""
    await ctx["reconciler"].look_at("deletions", deletion_id)


async def advance_run(ctx: dict[str, Any], run_id: str) -> None:
    """ARQ: go on with this generation or comparison now."""
    await ctx["reconciler"].look_at("runs", run_id)


async def admit_jobs(ctx: dict[str, Any], turn: str) -> None:
    """ARQ: give free slots to waiting jobs now."""
    await ctx["reconciler"].look_at("admissions", turn)


FUNCTIONS = (
    advance_job,
    admit_jobs,
    validate_dataset,
    prepare_dataset,
    compare_datasets,
    advance_run,
    carry_out_deletion,
    deliver_webhook,
)


async def startup(settings: Settings) -> Context:
    """Everything that the steps need. Raises `SettingsError` for a configuration that cannot work."""
    if settings.upstream_is_self(settings.port):
        raise SettingsError("OPENAI_BASE_URL points at this gateway itself. Give it the upstream's address.")
    sealer = sealer_of(settings)
    db = Database(
        create_engine(settings.database_url, pool_size=settings.database_pool_size, application="tunegate-worker"),
        Doorbell(settings.redis_url),
    )
    instance = await _begin(db, settings)
    accounts = Accounts(settings, db, sealer)
    validators = Validators(
        processes=settings.validation_processes, storage_url=settings.storage_url, models_file=settings.models_file
    )
    await validators.warm()
    cashier = Cashier(db, life_seconds=settings.inference_timeout_seconds + settings.lease_seconds)
    return Context(
        settings=settings,
        instance=instance,
        db=db,
        storage=Storage(settings.storage_url),
        catalogue=base_models.load(settings.models_file),
        accounts=accounts,
        turns=Turns(settings.worker_concurrency, accounts.troubled),
        sender=Sender.from_settings(settings),
        validators=validators,
        cashier=cashier,
        meter=Meter(db, cashier),
        rates=RateKeeper(db, RateLimiter(settings.redis_url), requests_per_minute=settings.requests_per_minute),
    )


async def _begin(db: Database, settings: Settings) -> str:
    """The gateway's instance, as soon as Postgres answers: a worker that starts before it waits for it."""
    while True:
        try:
            await refuse_unfit(settings, application="tunegate-worker")
            async with db.admin() as session:
                await ensure_default_account(session, settings)
                return (await session.scalars(select(Gateway.instance))).one()
        except (OSError, DBAPIError) as error:
            log.warning("worker.waits_for_postgres", error=repr(error))
            await asyncio.sleep(DATABASE_LOOK_SECONDS)


async def shutdown(ctx: Context) -> None:
    """Let everything go."""
    await ctx.cashier.close()
    await ctx.validators.close()
    await ctx.rates.close()
    await ctx.accounts.close()
    await ctx.db.close()


def reconciler_of(ctx: Context) -> Reconciler:
    """The reconciler with every kind of work."""
    concurrency = ctx.settings.worker_concurrency
    return Reconciler(
        ctx.db,
        [
            Kind("jobs", Job, partial(advance, ctx), concurrency, partial(claimable, ctx)),
            Kind("watches", UpstreamWatch, partial(account_poller.watch, ctx), WATCHES),
            Kind("admissions", AdmissionTurn, partial(schedule.take_turn, ctx), 1),
            Kind("reports", FileReport, partial(validate, ctx), ctx.settings.validation_processes),
            Kind(
                "preparations",
                DatasetPreparation,
                partial(preparation.prepare, ctx),
                ctx.settings.validation_processes,
            ),
            Kind("comparisons", LeakageReport, partial(leakage.compare, ctx), 1),
            Kind("runs", Run, partial(runs.advance, ctx), RUNS),
            Kind("deletions", Deletion, partial(carry_out.carry_out, ctx), DELETIONS),
            Kind("deliveries", WebhookDelivery, partial(deliver.deliver, ctx), DELIVERIES, deliver.claimable),
            Kind(
                "retries",
                WebhookDelivery,
                partial(deliver.deliver, ctx),
                RETRIES,
                partial(deliver.claimable, failing=True),
            ),
        ],
        lease_seconds=ctx.settings.lease_seconds,
        every_seconds=ctx.settings.reconcile_seconds,
    )


async def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT, then finish what is under way within the grace; a second signal cuts it.

    Raises `SettingsError` for a configuration or a schema that it cannot work with.
    """
    configure(settings.log_level, settings.log_format)
    logging.getLogger("arq").setLevel(logging.ERROR)
    stop, cut = asyncio.Event(), asyncio.Event()

    def asked_to_stop() -> None:
        if not stop.is_set():
            _be_gone_soon()
        (cut if stop.is_set() else stop).set()

    starting = asyncio.create_task(startup(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop)
    ctx = await _unless(stop, starting)
    if ctx is None:
        return
    reconciler = reconciler_of(ctx)
    heartbeat = Heartbeat(ctx.db, reconciler)
    sweep_seconds = max(MIN_SWEEP_SECONDS, settings.settle_seconds)
    tasks = [
        asyncio.create_task(reconciler.run()),
        asyncio.create_task(_every(sweep_seconds, lambda: orphaned_upstream_jobs.sweep(ctx))),
        asyncio.create_task(_every(JANITOR_SECONDS, lambda: storage_cleanup.clear_up(ctx))),
        asyncio.create_task(_every(PRUNE_SECONDS, lambda: pruning.prune(ctx))),
        asyncio.create_task(_every(stalled_jobs.EVERY_SECONDS, lambda: stalled_jobs.tell_of_stalled(ctx.db))),
        asyncio.create_task(_every(ORPHANS_SECONDS, lambda: resolve_orphans(ctx.db))),
        asyncio.create_task(
            _every(JANITOR_SECONDS, lambda: retirement_notices.announce(ctx.db, ctx.catalogue, ctx.today()))
        ),
        asyncio.create_task(_every(deploy.EVERY_SECONDS, lambda: deploy.advance(ctx))),
        asyncio.create_task(_every(BEAT_SECONDS, heartbeat.beat, at_once=True)),
    ]
    if settings.redis_url:
        tasks.append(asyncio.create_task(_answer_the_bell(settings.redis_url, reconciler)))
    log.info("worker.started", instance=ctx.instance)
    await stop.wait()
    log.info("worker.stopping")
    ctx.stopping.set()
    await _unless(cut, asyncio.create_task(reconciler.stop(GRACE_SECONDS)))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    with contextlib.suppress(Exception):
        await heartbeat.end()
    await shutdown(ctx)


def _be_gone_soon() -> None:
    """End the process by force when its orderly end takes too long, as with a database that answers no more."""
    timer = threading.Timer(END_SECONDS, os._exit, (1,))
    timer.daemon = True
    timer.start()


async def _unless(event: asyncio.Event, task: "asyncio.Task[T]") -> T | None:
    """What the task returns, or None when the event comes first; the task is cancelled then."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None


async def _answer_the_bell(redis_url: str, reconciler: Reconciler) -> None:
    """Run ARQ's worker, and run it again when Redis was away (it ends then)."""
    while True:
        try:
            pool = await open_pool(redis_url)
        except REDIS_AWAY as error:
            log.warning("bell.away", error=type(error).__name__)
            await asyncio.sleep(BELL_RESTART_SECONDS)
            continue
        bell = Worker(
            functions=[func(function, keep_result=0, max_tries=1, timeout=30) for function in FUNCTIONS],
            queue_name=QUEUE,
            redis_pool=pool,
            handle_signals=False,
            keep_result=0,
            max_tries=1,
            max_jobs=100,
            poll_delay=BELL_POLL_SECONDS,
            job_serializer=serialize,
            job_deserializer=deserialize,
            ctx={"reconciler": reconciler},
        )
        try:
            await bell.async_run()
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await bell.close()
            raise
        except Exception as error:
            log.warning("bell.away", error=type(error).__name__)
        with contextlib.suppress(Exception):
            await bell.close()
        await asyncio.sleep(BELL_RESTART_SECONDS)


async def _every(seconds: float, act: Callable[[], Awaitable[object]], *, at_once: bool = False) -> None:
    await asyncio.sleep(0.0 if at_once else seconds)
    while True:
        try:
            await act()
        except Exception as error:
            log.error("worker.chore_broke", exc_info=error)
        await asyncio.sleep(seconds)
