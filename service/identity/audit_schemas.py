"""Request and response structs of the audit log, in the form of the SDK's `AuditLogListResponse`."""

from typing import Annotated, Any, Literal, NamedTuple

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


class ListProjectAuditLogs(PageQuery, frozen=True, kw_only=True):
    """Filters that an entry must all match. `effective_at` is compared in whole seconds."""

    before: str | None = None
    actor_ids: Ids | None = msgspec.field(default=None, name="actor_ids[]")
    event_types: Ids | None = msgspec.field(default=None, name="event_types[]")
    resource_ids: Ids | None = msgspec.field(default=None, name="resource_ids[]")
    gt: Second | None = msgspec.field(default=None, name="effective_at[gt]")
    gte: Second | None = msgspec.field(default=None, name="effective_at[gte]")
    lt: Second | None = msgspec.field(default=None, name="effective_at[lt]")
    lte: Second | None = msgspec.field(default=None, name="effective_at[lte]")


class ListAuditLogs(ListProjectAuditLogs, frozen=True, kw_only=True):
    """As a project's, of some projects."""

    project_ids: Ids | None = msgspec.field(default=None, name="project_ids[]")


class Entry(NamedTuple):
    """An entry with names, and the number of refusals that it stands for.

    Entries older than the stored names have those that keys and accounts have now. `shows_address`: not to a project
    that reads what an administrator did.
    """

    row: AuditLog
    project_name: str | None
    refusals: int | None
    key_name: str | None
    shows_address: bool
    account_name: str | None
    resource_name: str | None


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """An object by its id, with its name at the time of the event. The name is null of what has none."""

    id: str
    name: str | None


class ActorKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key that acted. `type` and `service_account` are null for admin keys and keys from the command line."""

    id: str
    name: str | None
    type: Literal["service_account"] | None
    service_account: Reference | None


class ActorSession(msgspec.Struct, frozen=True, kw_only=True):
    """The address of the connection's peer, which may be your own proxy."""

    ip_address: str | None


class ActorObject(msgspec.Struct, frozen=True, kw_only=True):
    """Who acted; a `session` had no valid key. A project does not see the address of an administrator."""

    type: Literal["api_key", "session"]
    api_key: ActorKey | None
    session: ActorSession | None


class ProjectReference(msgspec.Struct, frozen=True, kw_only=True):
    """The project that the entry belongs to, with its name now."""

    id: str
    name: str | None


class AuditLogObject(msgspec.Struct, frozen=True, kw_only=True):
    """An entry. Besides these fields it has one named like its `type`, which holds the details.

    `resource` is what was changed. `actor` is null when the service itself, or an operator at the command line, acted.
    """

    id: str
    object: Literal["organization.audit_log"] = "organization.audit_log"
    type: str
    effective_at: int
    actor: ActorObject | None
    project: ProjectReference | None
    resource: Reference | None
    request_id: str | None


def check_event_types(query: ListProjectAuditLogs) -> None:
    """Raise `InvalidRequest` for an unknown event type."""
    for name in query.event_types or ():
        if name not in EVENT_TYPES:
            raise InvalidRequest(
                f"Unknown event type '{name[:100]}'. Besides OpenAI's types there are: {', '.join(OWN_TYPES)}.",
                param="event_types[]",
                code="unknown_event_type",
            )


def show_entry(entry: Entry) -> dict[str, Any]:
    """The response for an entry."""
    row = entry.row
    project = None if row.project_id is None else ProjectReference(id=row.project_id, name=entry.project_name)
    resource = None if row.resource_id is None else Reference(id=row.resource_id, name=entry.resource_name)
    shown = AuditLogObject(
        id=row.id,
        type=row.type,
        effective_at=unix(row.effective_at),
        actor=_actor(entry),
        project=project,
        resource=resource,
        request_id=row.request_id,
    )
    detail = detail_of(row.type, resource_id=row.resource_id, data=row.detail)
    if entry.refusals is not None:
        detail["count"] = entry.refusals
    plain: dict[str, Any] = msgspec.to_builtins(shown)
    return plain | {row.type: detail}


def _actor(entry: Entry) -> ActorObject | None:
    row = entry.row
    if row.actor == "system":
        return None
    session = ActorSession(ip_address=row.ip_address)
    if row.key_id is None:
        return ActorObject(type="session", api_key=None, session=session)
    account = None
    if row.service_account_id is not None:
        account = Reference(id=row.service_account_id, name=entry.account_name)
    key = ActorKey(
        id=row.key_id,
        name=entry.key_name,
        type="service_account" if account else None,
        service_account=account,
    )
    return ActorObject(type="api_key", api_key=key, session=session if entry.shows_address else None)
