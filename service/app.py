"""The HTTP service, put together here and nowhere else."""

import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from litestar import Litestar, Router
from litestar.types import ASGIApp

from service import health
from service.billing import routes as billing
from service.billing.batcher import Cashier
from service.catalogue import base_models
from service.database.engine import Database, create_engine
from service.datasets.files import routes as datasets
from service.datasets.preparation import routes as preparations
from service.datasets.uploads import routes as uploads
from service.deletions import routes as deletions
from service.errors import SettingsError
from service.http.bodies import check_address
from service.http.errors import handle
from service.http.login_throttle import Guesses
from service.http.middleware import Surroundings
from service.http.operation import OPT_KEY
from service.http.rate_limits import RateLimiter
from service.identity import routes as projects
from service.identity.audit import actor_of
from service.identity.authentication import Authenticator
from service.inference import streaming
from service.inference.metering import Meter
from service.jobs import routes as jobs
from service.key_rotation import sealer_of
from service.limits.rates import RateKeeper
from service.limits.routes import ADMIN_ROUTES as LIMIT_ROUTES
from service.logs import configure
from service.models import routes as models
from service.models.aliases import routes as aliases
from service.models.deletion import routes as deleting
from service.models.permissions import routes as permissions
from service.runs.comparisons import routes as comparisons
from service.runs.generations import routes as generations
from service.services import ApiRequest, Services, services
from service.settings import Settings
from service.storage import Storage
from service.upstreams import inbound_routes
from service.upstreams import routes as upstreams
from service.upstreams.accounts import Accounts
from service.wakeups import Doorbell
from service.webhooks import event_routes as webhook_events
from service.webhooks import routes as webhooks
from service.webhooks.sender import Sender
from service.webhooks.stream import EventStreams

Who = TypeVar("Who")

MAX_BODY_BYTES = 10 * 1024 * 1024


def create_app(settings: Settings) -> ASGIApp:
    """The service as an ASGI app. Raises `SettingsError` for a configuration that it cannot run with."""
    configure(settings.log_level, settings.log_format)
    return Surroundings(create_litestar(settings))


def create_litestar(settings: Settings) -> Litestar:
    """The routes with their services; connections open at start-up, so this may be called to look at the routes."""
    if settings.upstream_is_self(settings.port):
        raise SettingsError("OPENAI_BASE_URL points at this gateway itself. Give it the upstream's address.")

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        made = _services(settings)
        app.state.services = made
        await made.accounts.introduce()
        await made.rates.warm()
        try:
            yield
        finally:
            await streaming.finish_all()
            await made.cashier.close()
            await made.authenticator.close()
            await made.rates.close()
            await made.accounts.close()
            await made.db.close()

    project_routes = Router(
        "/v1",
        route_handlers=[
            *datasets.ROUTES,
            *uploads.ROUTES,
            *preparations.ROUTES,
            *generations.ROUTES,
            *jobs.ROUTES,
            *models.ROUTES,
            *deleting.ROUTES,
            *aliases.ROUTES,
            *comparisons.ROUTES,
            *webhooks.ROUTES,
            *webhook_events.ROUTES,
            *upstreams.ROUTES,
        ],
        before_request=_admit_project,
    )
    organization_routes = Router(
        "/v1/organization",
        route_handlers=[
            *billing.ADMIN_ROUTES,
            *projects.ADMIN_ROUTES,
            *deletions.ADMIN_ROUTES,
            *LIMIT_ROUTES,
            *upstreams.ADMIN_ROUTES,
        ],
        before_request=_admit_administrator,
    )
    checkpoint_routes = Router(
        "/v1/fine_tuning/checkpoints",
        route_handlers=permissions.ADMIN_ROUTES,
        before_request=_admit_administrator,
    )
    return Litestar(
        [project_routes, organization_routes, checkpoint_routes, *inbound_routes.ROUTES, *health.ROUTES],
        lifespan=[lifespan],
        exception_handlers={Exception: handle},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=MAX_BODY_BYTES,
        type_encoders={dt.date: dt.date.isoformat},
    )


async def _admit_project(request: ApiRequest) -> None:
    here = services(request)
    who = await _watched(request, here.authenticator.project_caller)
    request.scope["auth"] = who
    await here.rates.admit(request.scope, who)
    _check_address(request)


async def _admit_administrator(request: ApiRequest) -> None:
    request.scope["auth"] = await _watched(request, services(request).authenticator.administrator)
    _check_address(request)


async def _watched(request: ApiRequest, authenticate: Callable[..., Awaitable[Who]]) -> Who:
    credential = request.headers.get("authorization")
    visitor = actor_of(request)

    async def look_up() -> Who:
        return await authenticate(credential, method=request.method, visitor=visitor)

    return await services(request).guesses.watch(visitor.ip_address, credential, look_up)


def _check_address(request: ApiRequest) -> None:
    asked = request.route_handler.opt.get(OPT_KEY)
    if asked is not None:  # else it is the framework's answer to OPTIONS
        check_address(request, asked.query)


def _services(settings: Settings) -> Services:
    db = Database(
        create_engine(settings.database_url, pool_size=settings.database_pool_size, application="tunegate-api"),
        Doorbell(settings.redis_url),
    )
    life_seconds = settings.inference_timeout_seconds + settings.lease_seconds
    cashier = Cashier(db, life_seconds=life_seconds)
    sealer = sealer_of(settings)
    return Services(
        settings=settings,
        db=db,
        storage=Storage(settings.storage_url),
        authenticator=Authenticator(db),
        guesses=Guesses(per_minute=settings.failed_keys_per_minute),
        rates=RateKeeper(db, RateLimiter(settings.redis_url), requests_per_minute=settings.requests_per_minute),
        catalogue=base_models.load(settings.models_file),
        accounts=Accounts(settings, db, sealer),
        cashier=cashier,
        meter=Meter(db, cashier),
        sealer=sealer,
        sender=Sender.from_settings(settings),
        streams=EventStreams(db),
    )
