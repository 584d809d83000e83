"""What the HTTP routes need, made once by `create_app` and reached through the request."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from litestar import Request
from litestar.datastructures import State

from service.billing.batcher import Cashier
from service.catalogue.base_models import Catalogue
from service.database.encryption import Sealer
from service.database.engine import Database
from service.http.idempotency import Asked, asked
from service.http.login_throttle import Guesses
from service.identity.audit import actor_of
from service.identity.authentication import Administrator, Authenticator, Caller
from service.inference.metering import Meter
from service.limits.rates import RateKeeper
from service.settings import Settings
from service.storage import Storage
from service.upstreams.accounts import Accounts
from service.webhooks.sender import Sender
from service.webhooks.stream import EventStreams

ApiRequest = Request[Any, Any, State]


@dataclass(frozen=True, slots=True)
class Services:
    """The composition root of an API process."""

    settings: Settings
    db: Database
    storage: Storage
    authenticator: Authenticator
    guesses: Guesses
    rates: RateKeeper
    catalogue: Catalogue
    accounts: Accounts
    cashier: Cashier
    meter: Meter
    sealer: Sealer
    sender: Sender
    streams: EventStreams


def services(request: ApiRequest) -> Services:
    """The services of the app that serves this request."""
    return cast("Services", request.app.state.services)


def caller(request: ApiRequest) -> Caller:
    """Who is calling; the route's `before_request` has seen to it that there is one."""
    return cast("Caller", request.scope["auth"])


def still_welcome(request: ApiRequest) -> Callable[[], Awaitable[object]]:
    """A check for answers that go on and on: it raises `ApiError` once the caller's key works no more."""
    authenticator, key, visitor = (
        services(request).authenticator,
        request.headers.get("authorization"),
        actor_of(request),
    )
    return lambda: authenticator.project_caller(key, method="GET", visitor=visitor)


def asked_by(request: ApiRequest, body_sha256: bytes) -> Asked:
    """The identity of a creating request, for `answer_once`: of a project, or of the organisation's API."""
    who = cast("Caller | Administrator", request.scope["auth"])
    return asked(
        request.headers,
        method=request.method,
        path=request.scope["path"],
        project_id=who.project_id if isinstance(who, Caller) else None,
        key_id=who.key_id,
        body_sha256=body_sha256,
    )
