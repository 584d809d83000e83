"""Request and response structs of the audit log, in the form of the SDK's `AuditLogListResponse`."""

from typing import Annotated, Any, Literal

import msgspec

from service.database.tables import AuditLog
from service.errors import InvalidRequest
from service.http.wire_types import PageQuery, unix
from service.identity.audit_events import EVENT_TYPES, OWN_TYPES, detail_of

MAX_FILTERED = 100
LATEST_SECOND = 253_370_764_800
"""The start of the year 9999, in Unix seconds."""

Ids = Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_FILTERED)]
Second = Annotated[int, msgspec.Meta(ge=0, le=LATEST_SECOND)]


class ListAuditLogs(PageQuery, frozen=True, kw_only=True):
    """Filters that an entry must all match. `effective_at` is compared in whole seconds."""

    before: str | None = None
    actor_ids: Ids | None = msgspec.field(default=None, name="actor_ids[]")
    event_types: Ids | None = msgspec.field(default=None, name="event_types[]")
    project_ids: Ids | None = msgspec.field(default=None, name="project_ids[]")
    resource_ids: Ids | None = msgspec.field(default=None, name="resource_ids[]")
    gt: Second | None = msgspec.field(default=None, name="effective_at[gt]")
    gte: Second | None = msgspec.field(default=None, name="effective_at[gte]")
    lt: Second | None = msgspec.field(default=None, name="effective_at[lt]")
    lte: Second | None = msgspec.field(default=None, name="effective_at[lte]")


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A reference to an object by its id."""

    id: str


class ActorKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key that acted. `type` and `service_account` are null for admin keys and keys from the command line."""

    id: str
    type: Literal["service_account"] | None
    service_account: Reference | None


class ActorSession(msgspec.Struct, frozen=True, kw_only=True):
    """The address of the connection's peer, which may be your own proxy."""

    ip_address: str | None


class ActorObject(msgspec.Struct, frozen=True, kw_only=True):
    """Who acted; a `session` had no valid key."""

    type: Literal["api_key", "session"]
    api_key: ActorKey | None
    session: ActorSession | None


class ProjectReference(msgspec.Struct, frozen=True, kw_only=True):
    """The project that the entry belongs to. The name is null once the project is deleted."""

    id: str
    name: str | None


class AuditLogObject(msgspec.Struct, frozen=True, kw_only=True):
    """An entry. Besides these fields it has one named like its `type`, which holds the details.

    `actor` is null when the service itself, or an operator at the command line, acted.
    """

    id: str
    object: Literal["organization.audit_log"] = "organization.audit_log"
    type: str
    effective_at: int
    actor: ActorObject | None
    project: ProjectReference | None
    request_id: str | None


def check_event_types(query: ListAuditLogs) -> None:
    """Raise `InvalidRequest` for an unknown event type."""
    for name in query.event_types or ():
        if name not in EVENT_TYPES:
            raise InvalidRequest(
                f"Unknown event type '{name[:100]}'. Besides OpenAI's types there are: {', '.join(OWN_TYPES)}.",
                param="event_types[]",
                code="unknown_event_type",
            )


def show_entry(row: AuditLog, project_name: str | None, refusals: int | None) -> dict[str, Any]:
    """The response for an entry."""
    project = None if row.project_id is None else ProjectReference(id=row.project_id, name=project_name)
    shown = AuditLogObject(
        id=row.id,
        type=row.type,
        effective_at=unix(row.effective_at),
        actor=_actor(row),
        project=project,
        request_id=row.request_id,
    )
    detail = detail_of(row.type, resource_id=row.resource_id, data=row.detail)
    if refusals is not None:
        detail["count"] = refusals
    plain: dict[str, Any] = msgspec.to_builtins(shown)
    return plain | {row.type: detail}


def _actor(row: AuditLog) -> ActorObject | None:
    if row.actor == "system":
        return None
    key = None
    if row.key_id is not None:
        account = None if row.service_account_id is None else Reference(id=row.service_account_id)
        key = ActorKey(id=row.key_id, type="service_account" if account else None, service_account=account)
    return ActorObject(
        type="session" if key is None else "api_key", api_key=key, session=ActorSession(ip_address=row.ip_address)
    )
