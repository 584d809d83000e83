"""The HTTP service, put together here and nowhere else."""

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar, Router
from litestar.types import ASGIApp

from service import health
from service.billing import routes as billing
from service.datasets import routes as datasets
from service.datasets.preparations import routes as preparations
from service.datasets.uploads import routes as uploads
from service.db import Database, create_engine
from service.doorbell import Doorbell
from service.encryption import Sealer
from service.errors import SettingsError
from service.http.bodies import check_address
from service.http.errors import handle
from service.http.middleware import Surroundings
from service.http.operation import OPT_KEY
from service.jobs import routes as jobs
from service.logs import configure
from service.models import catalogue
from service.models import routes as models
from service.projects.authentication import Authenticator
from service.services import ApiRequest, Services, services
from service.settings import Settings
from service.storage import Storage
from service.upstream.accounts import open_upstream
from service.webhooks import routes as webhooks
from service.webhooks.sender import Sender

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
        try:
            yield
        finally:
            await made.upstream.close()
            await made.db.close()

    project_routes = Router(
        "/v1",
        route_handlers=[
            *datasets.ROUTES,
            *uploads.ROUTES,
            *preparations.ROUTES,
            *jobs.ROUTES,
            *models.ROUTES,
            *webhooks.ROUTES,
        ],
        before_request=_admit_project,
    )
    organization_routes = Router(
        "/v1/organization", route_handlers=billing.ADMIN_ROUTES, before_request=_admit_administrator
    )
    return Litestar(
        [project_routes, organization_routes, *health.ROUTES],
        lifespan=[lifespan],
        exception_handlers={Exception: handle},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=MAX_BODY_BYTES,
        type_encoders={dt.date: dt.date.isoformat},
    )


async def _admit_project(request: ApiRequest) -> None:
    request.scope["auth"] = await services(request).authenticator.project_caller(request.headers.get("authorization"))
    _check_address(request)


async def _admit_administrator(request: ApiRequest) -> None:
    request.scope["auth"] = await services(request).authenticator.administrator(request.headers.get("authorization"))
    _check_address(request)


def _check_address(request: ApiRequest) -> None:
    asked = request.route_handler.opt.get(OPT_KEY)
    if asked is not None:  # else it is the framework's answer to OPTIONS
        check_address(request, asked.query)


def _services(settings: Settings) -> Services:
    db = Database(
        create_engine(settings.database_url, pool_size=settings.database_pool_size, application="tunegate-api"),
        Doorbell(settings.redis_url),
    )
    return Services(
        settings=settings,
        db=db,
        storage=Storage(settings.storage_url),
        authenticator=Authenticator(db),
        catalogue=catalogue.load(settings.models_file),
        upstream=open_upstream(settings),
        sealer=Sealer(settings.master_key_bytes()),
        sender=Sender.from_settings(settings),
    )
