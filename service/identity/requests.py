"""Who makes a request: the caller, a check that its key still works, and the identity of a creating request."""

from collections.abc import Awaitable, Callable
from typing import cast

from service.http.idempotency import Asked, asked
from service.http.resources import ApiRequest, resource
from service.identity.audit import actor_of
from service.identity.authentication import Authenticator
from service.identity.callers import Administrator, Caller


def caller(request: ApiRequest) -> Caller:
    """Who is calling; the app has authenticated every request of these routes before its handler runs."""
    return cast("Caller", request.scope["auth"])


def still_welcome(request: ApiRequest) -> Callable[[], Awaitable[object]]:
    """A check for responses that stay open: it raises `ApiError` once the caller's key no longer works."""
    authenticator, key, visitor = (
        resource(request, Authenticator),
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
