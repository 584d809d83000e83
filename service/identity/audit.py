"""Writes the audit log: one entry for every change and every refusal, in the transaction of the change itself.

    await audit.record(session, audit.actor_of(request), "webhook_endpoint.updated", project_id=..., resource_id=...,
                       data={"url": ...})

`data` holds what was requested, never a secret. The service's database role may only insert and read entries.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from litestar import Request
from sqlalchemy import ScalarSelect, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import (
    ApiKey,
    AuditLog,
    ModelAlias,
    Project,
    ServiceAccount,
    UpstreamAccount,
    WebhookEndpoint,
)
from service.http.client_address import client_address
from service.identity.audit_events import EVENT_TYPES
from service.identity.callers import Administrator, Caller
from service.ids import new_id
from service.states import AuditActorKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acted: a key, a caller without a valid one (`session`), or the service itself (`system`)."""

    kind: AuditActorKind
    key_id: str | None = None
    service_account_id: str | None = None
    ip_address: str | None = None
    request_id: str | None = None


SYSTEM = Actor(kind="system")
"""A worker, or an operator at the command line."""


def actor_of(request: Request[Any, Any, Any]) -> Actor:
    """The caller of a request. The address is that of the connection's peer, or of the client of a trusted proxy."""
    key_id: str | None
    service_account_id: str | None
    match request.scope.get("auth"):
        case Caller() as who:
            key_id, service_account_id = who.key_id, who.service_account_id
        case Administrator() as who:
            key_id, service_account_id = who.key_id, None
        case _:
            key_id, service_account_id = None, None
    return Actor(
        kind="session" if key_id is None else "api_key",
        key_id=key_id,
        service_account_id=service_account_id,
        ip_address=client_address(request.scope),
        request_id=structlog.contextvars.get_contextvars().get("request_id"),
    )


async def record(
    session: AsyncSession,
    actor: Actor,
    type: str,
    *,
    project_id: str | None = None,
    resource_id: str | None = None,
    resource_name: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> str:
    """Add an entry in the caller's transaction, whatever the session's scope, and return the entry's id.

    The names of the actor and of what is changed are stored with it, as they are after the change. `resource_name` is
    needed only for what has lost its name by then. The API shows `data` as the new object for a type that ends in
    `created`, and as the requested changes for one that ends in `updated`. Raises `ValueError` for a type that
    `audit_events` does not list.
    """
    if type not in EVENT_TYPES:
        raise ValueError(f"{type!r} is not an audit event type.")
    entry_id = new_id("audit_log-")
    kind = str((data or {}).get("resource_type", type.partition(".")[0]))
    await session.execute(
        insert(AuditLog).values(
            id=entry_id,
            project_id=project_id,
            type=type,
            actor=actor.kind,
            key_id=actor.key_id,
            key_name=_name(ApiKey, actor.key_id),
            service_account_id=actor.service_account_id,
            service_account_name=_name(ServiceAccount, actor.service_account_id),
            ip_address=actor.ip_address,
            request_id=actor.request_id,
            resource_id=resource_id,
            resource_name=resource_name or _name(_table_of(kind, resource_id, project_id), resource_id),
            detail=dict(data or {}),
        )
    )
    return entry_id


_Named = (
    type[ApiKey]
    | type[ModelAlias]
    | type[Project]
    | type[ServiceAccount]
    | type[UpstreamAccount]
    | type[WebhookEndpoint]
)

_NAMED: Mapping[str, _Named] = {
    "api_key": ApiKey,
    "login": ApiKey,
    "model_alias": ModelAlias,
    "service_account": ServiceAccount,
    "upstream_account": UpstreamAccount,
    "webhook_endpoint": WebhookEndpoint,
}
"""The tables of what has a name, by the first part of an event's type, or by the type of a deleted resource."""


def _table_of(kind: str, resource_id: str | None, project_id: str | None) -> _Named | None:
    return Project if resource_id == project_id else _NAMED.get(kind)


def _name(table: _Named | None, row_id: str | None) -> ScalarSelect[str] | None:
    if table is None or row_id is None:
        return None
    return select(table.name).where(table.id == row_id).scalar_subquery()
