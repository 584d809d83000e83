"""The context of the workers' steps: opened once when the process starts, closed when it ends."""

import asyncio
import datetime as dt
from dataclasses import dataclass, field, fields

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from service.billing.ledger_batcher import LedgerBatcher
from service.catalogue import models_file
from service.catalogue.base_models import Catalogue
from service.database.encryption import sealer_of
from service.database.engine import Database, create_engine
from service.database.problems import DatabaseUnusable, problem_of
from service.database.schema import check_schema
from service.database.tables import Gateway
from service.fair_places import FairPlaces
from service.http.rate_limits import RateLimiter
from service.inference.metering import Meter
from service.inference.token_counts import ThreadCounts
from service.limits.rates import RateLimitEnforcer
from service.runs.evaluator import Evaluator
from service.settings import Settings
from service.storage import Storage
from service.upstreams.accounts import Accounts, ensure_default_account
from service.upstreams.adapters.azure import UPSTREAMS
from service.upstreams.port import Upstream
from service.wakeups import Wakeups
from service.webhooks.sender import Sender
from workers.bulkhead import Bulkhead
from workers.dataset_processes import DatasetProcesses
from workers.detached_calls import DetachedCalls
from workers.run_places import call_places
from workers.webhooks.deliver import DeliveryBatches

log = structlog.get_logger()

DATABASE_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that a step needs. `instance` labels this gateway's jobs at the upstream."""

    settings: Settings
    instance: str
    db: Database
    storage: Storage
    catalogue: Catalogue
    accounts: Accounts[Upstream]
    bulkhead: Bulkhead
    sender: Sender
    delivery_batches: DeliveryBatches
    dataset_processes: DatasetProcesses
    evaluator: Evaluator
    ledger_batcher: LedgerBatcher
    detached_calls: DetachedCalls
    meter: Meter
    rates: RateLimitEnforcer
    run_calls: FairPlaces
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process is to stop, so that long steps give their rows back."""

    def today(self) -> dt.date:
        """The UTC date, for prices."""
        return dt.datetime.now(dt.UTC).date()

    def at(self, upstream: Upstream) -> "AccountContext":
        """The context of a step that calls this upstream account."""
        return AccountContext(**{each.name: getattr(self, each.name) for each in fields(Context)}, upstream=upstream)


@dataclass(frozen=True, slots=True)
class AccountContext(Context):
    """The context of a step that calls one upstream account."""

    upstream: Upstream = field(kw_only=True)


async def open_context(settings: Settings) -> Context:
    """Open the context. Raises `SettingsError` for a configuration that cannot work."""
    sealer = sealer_of(settings)
    db = Database(
        create_engine(settings.database_url, pool_size=settings.database_pool_size, application="tunegate-worker"),
        Wakeups(settings.redis_url),
    )
    instance = await _instance(db, settings)
    accounts = Accounts(settings, db, sealer, UPSTREAMS)
    dataset_processes = DatasetProcesses(
        processes=settings.validation_processes,
        memory_bytes=settings.dataset_memory_bytes,
        storage_url=settings.storage_url,
        models_file=settings.models_file,
    )
    await dataset_processes.warm()
    ledger_batcher = LedgerBatcher(db, lifetime_seconds=settings.inference_timeout_seconds + settings.lease_seconds)
    return Context(
        settings=settings,
        instance=instance,
        db=db,
        storage=Storage(settings.storage_url),
        catalogue=models_file.load(settings.models_file, with_tokenizers=True),
        accounts=accounts,
        bulkhead=Bulkhead(settings.worker_concurrency, accounts.is_unavailable),
        sender=Sender.from_settings(settings),
        delivery_batches=DeliveryBatches(db),
        dataset_processes=dataset_processes,
        evaluator=Evaluator.from_settings(settings),
        ledger_batcher=ledger_batcher,
        detached_calls=DetachedCalls(ledger_batcher),
        meter=Meter(db, ledger_batcher, ThreadCounts()),
        rates=RateLimitEnforcer(db, RateLimiter(settings.redis_url), requests_per_minute=settings.requests_per_minute),
        run_calls=call_places(settings),
    )


async def close_context(ctx: Context) -> None:
    """Post what is to be posted, close every connection and end every process."""
    await ctx.detached_calls.close()
    await ctx.ledger_batcher.close()
    await ctx.dataset_processes.close()
    await ctx.evaluator.close()
    await ctx.rates.close()
    await ctx.accounts.close()
    await ctx.db.close()


async def _instance(db: Database, settings: Settings) -> str:
    """The gateway's instance. Waits for Postgres to respond, since a worker may start before it."""
    while True:
        try:
            await check_schema(settings, application="tunegate-worker")
            async with db.admin() as session:
                await ensure_default_account(session, settings)
                return (await session.scalars(select(Gateway.instance))).one()
        except (OSError, DBAPIError) as error:
            problem = problem_of(error, settings.database_url)
            if problem is not None and problem.lasting:
                raise DatabaseUnusable(problem.text) from None
            log.warning("worker.database_unavailable", error=problem.text if problem else repr(error))
            await asyncio.sleep(DATABASE_RETRY_SECONDS)
