"""Reads the audit log."""

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import AuditLog, Project, Refusal
from service.errors import unknown_cursor
from service.identity.audit_schemas import ListAuditLogs


class Entry(NamedTuple):
    """An entry, the name of its project while the project exists, and the number of refusals that it stands for."""

    row: AuditLog
    project_name: str | None
    refusals: int | None


async def list_entries(session: AsyncSession, query: ListAuditLogs) -> Sequence[Entry]:
    """Up to `limit + 1` entries, newest first; with `before` alone, the ones just newer, oldest first.

    Raises `InvalidRequest` for an unknown cursor.
    """
    statement = (
        select(AuditLog, Project.name, Refusal.count)
        .outerjoin(Project, Project.id == AuditLog.project_id)
        .outerjoin(Refusal, Refusal.audit_log_id == AuditLog.id)
        .where(*_conditions(query))
    )
    for param, cursor in (("after", query.after), ("before", query.before)):
        if cursor is not None:
            if await session.scalar(select(AuditLog.id).where(AuditLog.id == cursor)) is None:
                raise unknown_cursor(cursor, param=param)
            statement = statement.where(AuditLog.id < cursor if param == "after" else AuditLog.id > cursor)
    upwards = query.before is not None and query.after is None
    ordered = statement.order_by(AuditLog.id.asc() if upwards else AuditLog.id.desc())
    return [Entry(*row) for row in await session.execute(ordered.limit(query.limit + 1))]


def _conditions(query: ListAuditLogs) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.actor_ids is not None:
        ids = query.actor_ids
        conditions.append(or_(AuditLog.key_id.in_(ids), AuditLog.service_account_id.in_(ids)))
    if query.event_types is not None:
        conditions.append(AuditLog.type.in_(query.event_types))
    if query.project_ids is not None:
        conditions.append(AuditLog.project_id.in_(query.project_ids))
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
