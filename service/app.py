"""Assembles the HTTP service: its routes, authentication, rate limits and resources."""

import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from litestar import Litestar, Router
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.types import ASGIApp

from service import archiving, health
from service.billing import routes as billing
from service.datasets.files import routes as datasets
from service.datasets.preparation import routes as preparations
from service.datasets.uploads import routes as uploads
from service.deletions import routes as deletions
from service.errors import SettingsError, Unauthenticated
from service.experiments import routes as experiments
from service.http.bodies import check_address
from service.http.concurrent_requests import Requests
from service.http.errors import handle
from service.http.login_throttle import LoginThrottle
from service.http.middleware import RequestMiddleware
from service.http.operation import OPT_KEY
from service.http.request_memory import count_memory, until_end
from service.http.resources import ApiRequest, resource
from service.identity import routes as projects
from service.identity.audit import actor_of
from service.identity.authentication import Authenticator
from service.identity.presented_keys import presented_key
from service.inference import routes as inference
from service.jobs import routes as jobs
from service.limits import routes as limits
from service.limits.rates import RateLimitEnforcer
from service.logs import configure
from service.models import routes as models
from service.models.aliases import routes as aliases
from service.models.deletion import routes as deleting
from service.models.permissions import routes as permissions
from service.monitoring.internal_listener import InternalListener
from service.runs.comparisons import routes as comparisons
from service.runs.generations import routes as generations
from service.services import Services
from service.settings import Settings
from service.upstreams import inbound_routes
from service.upstreams import routes as upstreams
from service.upstreams.metrics import measure
from service.webhooks import event_routes as webhook_events
from service.webhooks import routes as webhooks

Who = TypeVar("Who")

ORGANIZATION = "organization"
"""Whose memory the bodies of administrators occupy."""

MAX_BODY_BYTES = 10 * 1024 * 1024


OpenServices = Callable[[Settings], Services]


def create_app(
    settings: Settings, open_services: OpenServices = Services.open, internal: InternalListener | None = None
) -> ASGIApp:
    """The service as an ASGI app, which also serves the internal listener while it runs.

    Raises `SettingsError` for a configuration that cannot work.
    """
    configure(settings.log_level, settings.log_format)
    app = create_litestar(settings, open_services, internal)
    return RequestMiddleware(app, settings.proxies(), body_idle_seconds=settings.body_idle_seconds)


def create_litestar(
    settings: Settings, open_services: OpenServices = Services.open, internal: InternalListener | None = None
) -> Litestar:
    """The routes and their resources. Connections open at start-up only, so documentation can read the routes."""
    if settings.upstream_is_self(settings.port):
        raise SettingsError("OPENAI_BASE_URL points at this gateway itself. Set it to the upstream's address.")

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        services = open_services(settings)
        app.state.resources = services.resources()
        await services.accounts.write_default_account()
        await services.rates.warm()
        async with AsyncExitStack() as running:
            if internal is not None:
                internal.ready, internal.measure = services.readiness, partial(measure, services.db)
                await running.enter_async_context(internal.serving())
            running.push_async_callback(services.close)
            yield

    project_routes = _OwnRouter(
        "/v1",
        route_handlers=[
            *datasets.ROUTES,
            *uploads.ROUTES,
            *preparations.ROUTES,
            *generations.ROUTES,
            *jobs.ROUTES,
            *experiments.ROUTES,
            *models.ROUTES,
            *inference.ROUTES,
            *deleting.ROUTES,
            *aliases.ROUTES,
            *comparisons.ROUTES,
            *webhooks.ROUTES,
            *webhook_events.ROUTES,
            *upstreams.ROUTES,
            *billing.ROUTES,
            *projects.ROUTES,
            *limits.ROUTES,
        ],
        before_request=_admit_project,
    )
    organization_routes = _OwnRouter(
        "/v1/organization",
        route_handlers=[
            *billing.ADMIN_ROUTES,
            *projects.ADMIN_ROUTES,
            *archiving.ADMIN_ROUTES,
            *deletions.ADMIN_ROUTES,
            *limits.ADMIN_ROUTES,
            *upstreams.ADMIN_ROUTES,
        ],
        before_request=_admit_administrator,
    )
    checkpoint_routes = _OwnRouter(
        "/v1/fine_tuning/checkpoints",
        route_handlers=permissions.ADMIN_ROUTES,
        before_request=_admit_administrator,
    )
    return _Litestar(
        [project_routes, organization_routes, checkpoint_routes, *inbound_routes.ROUTES, *health.ROUTES],
        lifespan=[lifespan],
        exception_handlers={Exception: handle},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=MAX_BODY_BYTES,
        type_encoders={dt.date: dt.date.isoformat},
    )


class _Litestar(Litestar):
    """Litestar without its plugins for pydantic and attrs, whose import would take a tenth of the start."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


class _OwnRouter(Router):
    """A router of one app only, so it is not copied when it is registered, with everything that its routes have."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_OwnRouter":
        return self


async def _admit_project(request: ApiRequest) -> None:
    who = await _authenticate(request, resource(request, Authenticator).project_caller)
    request.scope["auth"] = who
    until_end(request, resource(request, Requests).occupy(who.project_id))
    count_memory(request, who.project_id)
    await resource(request, RateLimitEnforcer).admit(request.scope, who)
    _check_address(request)


async def _admit_administrator(request: ApiRequest) -> None:
    request.scope["auth"] = await _authenticate(request, resource(request, Authenticator).administrator)
    count_memory(request, ORGANIZATION)
    _check_address(request)


async def _authenticate(request: ApiRequest, authenticate: Callable[..., Awaitable[Who]]) -> Who:
    client = actor_of(request)
    try:
        return await authenticate(presented_key(request.headers), method=request.method, client=client)
    except Unauthenticated as refused:
        raise resource(request, LoginThrottle).count(refused, client.ip_address) from None


def _check_address(request: ApiRequest) -> None:
    operation = request.route_handler.opt.get(OPT_KEY)
    if operation is not None:  # the framework's own handler of OPTIONS has none
        check_address(request, operation.query)
