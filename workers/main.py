"""The worker process: a reconciler that needs no Redis, and ARQ's worker beside it, which only rings its bell."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import structlog
from arq.worker import Worker, func
from sqlalchemy import select

from service.db import Database, create_engine
from service.doorbell import QUEUE, Doorbell, deserialize, redis_settings, serialize
from service.errors import SettingsError
from service.logs import configure
from service.models import catalogue
from service.settings import Settings
from service.storage import Storage
from service.tables import DatasetPreparation, FileReport, Gateway, Job, WebhookDelivery
from service.upstream.accounts import ensure_default_account, open_upstream
from service.webhooks.sender import Sender
from workers import deliveries, janitor, preparations, strays
from workers.context import Context
from workers.datasets import validate
from workers.jobs import advance
from workers.reconcile import Kind, Reconciler
from workers.validators import Validators

log = structlog.get_logger()

GRACE_SECONDS = 20.0
DELIVERIES = 128
"""Tries of deliveries at a time: each is a socket that mostly waits, and slow receivers must not use all of them."""
BELL_RESTART_SECONDS = 2.0
BELL_POLL_SECONDS = 0.1
JANITOR_SECONDS = 60.0
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


FUNCTIONS = (advance_job, validate_dataset, prepare_dataset, deliver_webhook)


async def startup(settings: Settings) -> Context:
    """Everything that the steps need. Raises `SettingsError` for a configuration that cannot work."""
    if settings.upstream_is_self(settings.port):
        raise SettingsError("OPENAI_BASE_URL points at this gateway itself. Give it the upstream's address.")
    settings.master_key_bytes()
    db = Database(
        create_engine(settings.database_url, pool_size=settings.database_pool_size, application="tunegate-worker"),
        Doorbell(settings.redis_url),
    )
    async with db.admin() as session:
        instance = (await session.scalars(select(Gateway.instance))).one()
        await ensure_default_account(session, settings)
    validators = Validators(
        processes=settings.validation_processes, storage_url=settings.storage_url, models_file=settings.models_file
    )
    await validators.warm()
    return Context(
        settings=settings,
        instance=instance,
        db=db,
        storage=Storage(settings.storage_url),
        catalogue=catalogue.load(settings.models_file),
        upstream=open_upstream(settings),
        sender=Sender.from_settings(settings),
        validators=validators,
    )


async def shutdown(ctx: Context) -> None:
    """Let everything go."""
    await ctx.validators.close()
    await ctx.upstream.close()
    await ctx.db.close()


def reconciler_of(ctx: Context) -> Reconciler:
    """The reconciler with every kind of work."""
    concurrency = ctx.settings.worker_concurrency
    return Reconciler(
        ctx.db,
        [
            Kind("jobs", Job, partial(advance, ctx), concurrency),
            Kind("reports", FileReport, partial(validate, ctx), ctx.settings.validation_processes),
            Kind(
                "preparations",
                DatasetPreparation,
                partial(preparations.prepare, ctx),
                ctx.settings.validation_processes,
            ),
            Kind("deliveries", WebhookDelivery, partial(deliveries.deliver, ctx), DELIVERIES, deliveries.claimable),
        ],
        lease_seconds=ctx.settings.lease_seconds,
        every_seconds=ctx.settings.reconcile_seconds,
    )


async def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT, then finish what is under way within the grace."""
    configure(settings.log_level, settings.log_format)
    logging.getLogger("arq").setLevel(logging.ERROR)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ctx = await startup(settings)
    reconciler = reconciler_of(ctx)
    sweep_seconds = max(MIN_SWEEP_SECONDS, settings.settle_seconds)
    tasks = [
        asyncio.create_task(reconciler.run()),
        asyncio.create_task(_every(sweep_seconds, lambda: strays.sweep(ctx))),
        asyncio.create_task(_every(JANITOR_SECONDS, lambda: janitor.clear_up(ctx))),
    ]
    if settings.redis_url:
        tasks.append(asyncio.create_task(_answer_the_bell(settings.redis_url, reconciler)))
    log.info("worker.started", instance=ctx.instance)
    await stop.wait()
    log.info("worker.stopping")
    await reconciler.stop(GRACE_SECONDS)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await shutdown(ctx)


async def _answer_the_bell(redis_url: str, reconciler: Reconciler) -> None:
    """Run ARQ's worker, and run it again when Redis was away (it ends then)."""
    while True:
        bell = Worker(
            functions=[func(function, keep_result=0, max_tries=1, timeout=30) for function in FUNCTIONS],
            queue_name=QUEUE,
            redis_settings=redis_settings(redis_url),
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


async def _every(seconds: float, act: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await act()
        except Exception as error:
            log.error("worker.chore_broke", exc_info=error)
