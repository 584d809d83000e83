"""The composition root of an API process: creates its resources at start-up and closes them at shutdown.

Only the app imports this module; a route gets what it needs from `service.http.resources.resource`.
"""

import asyncio
import dataclasses
from dataclasses import dataclass

import structlog

from service.billing.ledger_batcher import LedgerBatcher
from service.catalogue import models_file
from service.catalogue.base_models import Catalogue
from service.database.encryption import Sealer, sealer_of
from service.database.engine import Database, create_engine
from service.http.concurrent_requests import Downloads, Exports, Requests, Uploads
from service.http.event_streams import EventStreams
from service.http.keyless_bodies import KeylessBodies
from service.http.login_throttle import LoginThrottle
from service.http.rate_limits import RateLimiter
from service.http.resources import Resources
from service.identity.authentication import Authenticator
from service.inference import streaming
from service.inference.metering import Meter
from service.inference.places import InferencePlaces
from service.inference.relay_pace import RelayPaces
from service.inference.token_counts import ProcessCounts
from service.jobs.forecast import Forecast
from service.limits.rates import RateLimitEnforcer
from service.monitoring.readiness import ReadinessCheck
from service.project_memory import ProjectMemory
from service.runs.evaluator import MAX_WAITING_CHECKS, Evaluator
from service.settings import Settings
from service.storage import Storage
from service.upstreams.accounts import Accounts
from service.upstreams.adapters.azure_inference import INFERENCE_CLIENTS
from service.upstreams.inbound_checks import InboundChecks
from service.upstreams.port import InferenceUpstream
from service.wakeups import Wakeups
from service.webhooks.sender import Sender

log = structlog.get_logger()

CLOSE_SECONDS = 8.0
"""How long closing may take after the grace of a shutdown (20 s), so that the process ends within 30 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The resources of an API process."""

    settings: Settings
    db: Database
    storage: Storage
    readiness: ReadinessCheck
    authenticator: Authenticator
    login_throttle: LoginThrottle
    rates: RateLimitEnforcer
    catalogue: Catalogue
    accounts: Accounts[InferenceUpstream]
    inbound_checks: InboundChecks
    ledger_batcher: LedgerBatcher
    meter: Meter
    memory: ProjectMemory
    inference_places: InferencePlaces
    sealer: Sealer
    sender: Sender
    streams: EventStreams
    requests: Requests
    keyless_bodies: KeylessBodies
    relay_paces: RelayPaces
    uploads: Uploads
    downloads: Downloads
    exports: Exports
    forecast: Forecast
    evaluator: Evaluator

    @classmethod
    def open(cls, settings: Settings) -> "Services":
        """Create the resources from the settings. Connections open on first use."""
        db = Database(
            create_engine(settings.database_url, pool_size=settings.database_pool_size, application="tunegate-api"),
            Wakeups(settings.redis_url),
        )
        catalogue = models_file.load(settings.models_file, with_tokenizers=True)
        ledger_batcher = LedgerBatcher(db, lifetime_seconds=settings.inference_timeout_seconds + settings.lease_seconds)
        sealer = sealer_of(settings)
        storage = Storage(settings.storage_url)
        accounts = Accounts(settings, db, sealer, INFERENCE_CLIENTS)
        return cls(
            settings=settings,
            db=db,
            storage=storage,
            readiness=ReadinessCheck(db, storage, sealer),
            authenticator=Authenticator(db),
            login_throttle=LoginThrottle(per_minute=settings.failed_keys_per_minute),
            rates=RateLimitEnforcer(
                db, RateLimiter(settings.redis_url), requests_per_minute=settings.requests_per_minute
            ),
            catalogue=catalogue,
            accounts=accounts,
            inbound_checks=InboundChecks(db, sealer),
            ledger_batcher=ledger_batcher,
            meter=Meter(db, ledger_batcher, ProcessCounts()),
            memory=accounts.memory,
            inference_places=InferencePlaces(settings.max_inference_calls),
            sealer=sealer,
            sender=Sender.from_settings(settings),
            relay_paces=RelayPaces(),
            streams=EventStreams(max_streams=settings.max_event_streams),
            requests=Requests(settings.max_concurrent_requests),
            keyless_bodies=KeylessBodies(),
            uploads=Uploads(settings.max_concurrent_uploads),
            downloads=Downloads(settings.max_concurrent_downloads),
            exports=Exports(),
            forecast=Forecast(db, catalogue),
            evaluator=Evaluator.from_settings(settings, max_waiting=MAX_WAITING_CHECKS),
        )

    def resources(self) -> Resources:
        """The same objects by their types, for the routes."""
        return Resources(*(getattr(self, each.name) for each in dataclasses.fields(self)))

    async def close(self) -> None:
        """Post what is to be posted, then close every connection, within `CLOSE_SECONDS`.

        Streamed answers and calls that are still under way are disconnected and posted as estimates.
        """
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await streaming.finish_all()
                await self.meter.close()
                await self.ledger_batcher.close()
                await self.authenticator.close()
                await self.rates.close()
                await self.evaluator.close()
                await self.accounts.close()
                await self.db.close()
        except TimeoutError:
            log.warning("api.closed_late", seconds=CLOSE_SECONDS)
