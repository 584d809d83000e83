"""Idempotent creation: a repeated request gets the stored response instead of creating a second resource.

With an `Idempotency-Key`, the same key and body get the stored response for 24 hours. Without one, the official SDK
still repeats a POST whose response it did not receive, and says so in `x-stainless-retry-count`: the n-th retry of a
body gets the response of an earlier attempt with the same body that no n-th retry has claimed yet.

The response is stored in the action's own transaction, so a crash leaves both or neither. An advisory lock of the
transaction makes equal requests run one after another; a concurrent one waits up to five seconds for the first.
"""

import datetime as dt
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Response
from sqlalchemy import ColumnElement, delete, func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.database.advisory_locks import REMEMBERED_REQUESTS
from service.database.encryption import Sealer
from service.database.engine import Database
from service.database.sqlstates import sqlstate_of
from service.database.tables import RememberedRequest
from service.errors import InFlight, InvalidRequest, KeyReused
from service.ids import new_id

KEY_LIFETIME = dt.timedelta(hours=24)
RETRY_LIFETIME = dt.timedelta(minutes=10)
WAIT_SECONDS = 5
MAX_KEY_LENGTH = 255
LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestIdentity:
    """What identifies a creating request: its caller, route and body, and which attempt it is.

    `project_id` is None for the organisation's API, whose callers all belong to one organisation.
    """

    project_id: str | None
    key_id: str
    route: str
    body_sha256: bytes
    idempotency_key: str | None
    retry_count: int


def request_identity(
    headers: Any, *, method: str, path: str, project_id: str | None, key_id: str, body_sha256: bytes
) -> RequestIdentity:
    """Read the identity from a request's headers. Raises `InvalidRequest` for a key that is empty or too long."""
    key = headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise InvalidRequest(
            f"Idempotency-Key must have 1 to {MAX_KEY_LENGTH} characters.", code="invalid_idempotency_key"
        )
    retries = headers.get("x-stainless-retry-count", "0")
    return RequestIdentity(
        project_id=project_id,
        key_id=key_id,
        route=f"{method} {path}",
        body_sha256=body_sha256,
        idempotency_key=key,
        retry_count=int(retries) if retries.isdecimal() and len(retries) < 6 else 0,
    )


async def answer_once(
    db: Database,
    request: RequestIdentity,
    act: Callable[[AsyncSession], Awaitable[msgspec.Struct]],
    *,
    sealer: Sealer | None = None,
) -> Response[bytes]:
    """Run `act` in one transaction of the caller's scope, or return the stored response of an equal request.

    A route whose responses contain a secret passes its `sealer`, which encrypts them while they are stored; no cache
    may store them either. Raises `KeyReused` when the key was used with another body, and `InFlight` when the first
    request has not finished.
    """
    context = sealed_for(request.project_id, request.route)
    async with db.admin() if request.project_id is None else db.project(request.project_id) as session:
        await _lock(session, request)
        stored = await _stored(session, request)
        if stored is not None:
            plain = stored if sealer is None else sealer.open(stored, context=context)
            return _response(plain, replayed=True, secret=sealer is not None)
        body = msgspec.json.encode(await act(session))
        session.add(
            RememberedRequest(
                id=new_id("req_"),
                project_id=request.project_id,
                key_id=request.key_id,
                route=request.route,
                idempotency_key=request.idempotency_key,
                body_sha256=request.body_sha256,
                retry_count=request.retry_count,
                response=body if sealer is None else sealer.seal(body, context=context),
            )
        )
        await session.flush()
    fault_points.point("request.committed")
    return _response(body, replayed=False, secret=sealer is not None)


def sealed_for(project_id: str | None, route: str) -> str:
    """The context that a stored response is encrypted for, without which it cannot be decrypted."""
    return f"remembered_request:{project_id or 'organization'}:{route}"


async def _lock(session: AsyncSession, request: RequestIdentity) -> None:
    distinguishing = (
        request.idempotency_key.encode() if request.idempotency_key else request.key_id.encode() + request.body_sha256
    )
    digest = hashlib.sha256(
        b"\0".join(((request.project_id or "").encode(), request.route.encode(), distinguishing))
    ).digest()
    await session.execute(text(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'"))
    try:
        await session.execute(REMEMBERED_REQUESTS.take(digest))
    except DBAPIError as error:
        if sqlstate_of(error) == LOCK_NOT_AVAILABLE:
            raise InFlight(
                "The same request is still being processed. Try again in a moment.", retry_after_seconds=1
            ) from None
        raise
    await session.execute(text("SET LOCAL lock_timeout = 0"))


async def _stored(session: AsyncSession, request: RequestIdentity) -> bytes | None:
    if request.idempotency_key is not None:
        return await _by_key(session, request, request.idempotency_key)
    if request.retry_count > 0:
        return await _by_retry(session, request)
    return None


async def _by_key(session: AsyncSession, request: RequestIdentity, key: str) -> bytes | None:
    table = RememberedRequest
    same_key = _same_owner(request) & (table.route == request.route) & (table.idempotency_key == key)
    await session.execute(delete(table).where(same_key, table.created_at < func.now() - KEY_LIFETIME))
    row = (await session.scalars(select(table).where(same_key))).one_or_none()
    if row is None:
        return None
    if row.body_sha256 != request.body_sha256:
        raise KeyReused(
            "This Idempotency-Key was used with another body. Use a fresh key for a new request.",
            headers={"x-should-retry": "false"},
        )
    return row.response


async def _by_retry(session: AsyncSession, request: RequestIdentity) -> bytes | None:
    table = RememberedRequest
    earlier = (
        select(table.id)
        .where(
            _same_owner(request),
            table.key_id == request.key_id,
            table.route == request.route,
            table.body_sha256 == request.body_sha256,
            table.idempotency_key.is_(None),
            table.retry_count < request.retry_count,
            table.created_at > func.now() - RETRY_LIFETIME,
        )
        .order_by(table.created_at)
        .limit(1)
    )
    return await session.scalar(
        update(table)
        .where(table.id == earlier.scalar_subquery())
        .values(retry_count=request.retry_count)
        .returning(table.response)
    )


def _same_owner(request: RequestIdentity) -> ColumnElement[bool]:
    column = RememberedRequest.project_id
    return column.is_(None) if request.project_id is None else column == request.project_id


def _response(body: bytes, *, replayed: bool, secret: bool) -> Response[bytes]:
    headers = {"idempotency-replayed": "true"} if replayed else {}
    if secret:
        headers["cache-control"] = "no-store"
    return Response(body, status_code=200, media_type="application/json", headers=headers)
