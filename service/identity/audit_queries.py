"""Reads the audit log."""

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import ApiKey, AuditLog, File, Project, Refusal, ServiceAccount
from service.errors import unknown_cursor
from service.identity.audit_schemas import Entry, ListAuditLogs, ListProjectAuditLogs


async def list_entries(
    session: AsyncSession, query: ListAuditLogs | ListProjectAuditLogs, project_ids: Sequence[str] | None
) -> Sequence[Entry]:
    """Up to `limit + 1` entries, newest first; with `before` alone, the ones just newer, oldest first.

    Of these projects, or of all and of the organisation. Raises `InvalidRequest` for an unknown cursor.
    """
    of_projects = [] if project_ids is None else [AuditLog.project_id.in_(project_ids)]
    statement = _entries().where(*of_projects, *_conditions(query))
    for param, cursor in (("after", query.after), ("before", query.before)):
        if cursor is not None:
            if await session.scalar(select(AuditLog.id).where(AuditLog.id == cursor)) is None:
                raise unknown_cursor(cursor, param=param)
            statement = statement.where(AuditLog.id < cursor if param == "after" else AuditLog.id > cursor)
    upwards = query.before is not None and query.after is None
    ordered = statement.order_by(AuditLog.id.asc() if upwards else AuditLog.id.desc())
    return [Entry(*row) for row in await session.execute(ordered.limit(query.limit + 1))]


def _entries() -> Select[AuditLog, str | None, int | None, str | None, bool, str | None, str | None]:
    return (
        select(
            AuditLog,
            Project.name,
            Refusal.count,
            func.coalesce(AuditLog.key_name, ApiKey.name),
            _shows_address(),
            func.coalesce(AuditLog.service_account_name, ServiceAccount.name),
            func.coalesce(AuditLog.resource_name, File.filename),
        )
        .outerjoin(Project, Project.id == AuditLog.project_id)
        .outerjoin(Refusal, Refusal.audit_log_id == AuditLog.id)
        .outerjoin(ApiKey, ApiKey.id == AuditLog.key_id)
        .outerjoin(ServiceAccount, ServiceAccount.id == AuditLog.service_account_id)
        .outerjoin(File, (File.project_id == AuditLog.project_id) & (File.id == AuditLog.resource_id))
    )


def _shows_address() -> ColumnElement[bool]:
    """Whether the reader may see the key that acted: in a project's scope, administrators' keys are not visible."""
    in_project = func.current_setting("tunegate.scope") == "project"
    return ~in_project | ApiKey.id.is_not(None)


def _conditions(query: ListAuditLogs | ListProjectAuditLogs) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.actor_ids is not None:
        ids = query.actor_ids
        conditions.append(or_(AuditLog.key_id.in_(ids), AuditLog.service_account_id.in_(ids)))
    if query.event_types is not None:
        conditions.append(AuditLog.type.in_(query.event_types))
    if query.resource_ids is not None:
        conditions.append(AuditLog.resource_id.in_(query.resource_ids))
    # entries show whole seconds, rounded down
    if query.gt is not None:
        conditions.append(AuditLog.effective_at >= _moment(query.gt + 1))
    if query.gte is not None:
        conditions.append(AuditLog.effective_at >= _moment(query.gte))
    if query.lt is not None:
        conditions.append(AuditLog.effective_at < _moment(query.lt))
    if query.lte is not None:
        conditions.append(AuditLog.effective_at < _moment(query.lte + 1))
    return conditions


def _moment(unix_seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(unix_seconds, dt.UTC)
