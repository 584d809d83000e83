"""Reads the caller of a request, a later check of the caller's key, and the identity of a creating request."""

from collections.abc import Awaitable, Callable
from typing import cast

from service.http.idempotency import RequestIdentity, request_identity
from service.http.resources import ApiRequest, resource
from service.identity.audit import actor_of
from service.identity.authentication import Authenticator
from service.identity.callers import Administrator, Caller
from service.identity.presented_keys import presented_key


def caller(request: ApiRequest) -> Caller:
    """The caller of a project route. The app authenticates every request before its handler runs."""
    return cast("Caller", request.scope["auth"])


def access_check(request: ApiRequest) -> Callable[[], Awaitable[object]]:
    """A check for long responses: calling it raises `ApiError` once the caller's key no longer works."""
    authenticator, key, client = (
        resource(request, Authenticator),
        presented_key(request.headers),
        actor_of(request),
    )
    return lambda: authenticator.project_caller(key, method="GET", client=client)


def request_identity_of(request: ApiRequest, body_sha256: bytes) -> RequestIdentity:
    """The identity of a creating request for `answer_once`, in a project or in the organisation's API."""
    who = cast("Caller | Administrator", request.scope["auth"])
    return request_identity(
        request.headers,
        method=request.method,
        path=request.scope["path"],
        project_id=who.project_id if isinstance(who, Caller) else None,
        key_id=who.key_id,
        body_sha256=body_sha256,
    )
