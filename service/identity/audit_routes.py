"""`/v1/organization/audit_logs`, and `/v1/project/audit_logs` of the caller's project."""

from collections.abc import Sequence
from typing import Any

from litestar import get
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database
from service.http.bodies import read_query
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.http.wire_types import Page
from service.identity.audit_queries import list_entries
from service.identity.audit_schemas import (
    AuditLogObject,
    ListAuditLogs,
    ListProjectAuditLogs,
    check_event_types,
    show_entry,
)
from service.identity.requests import caller


@get(
    "/audit_logs",
    summary="List audit logs",
    opt=operation(returns=Page[AuditLogObject], query=ListAuditLogs),
)
async def get_audit_logs(request: ApiRequest) -> Page[dict[str, Any]]:
    """Changes and refusals, newest first. `after` continues with older entries, `before` with newer ones."""
    query = read_query(request, ListAuditLogs)
    async with resource(request, Database).admin() as session:
        return await _page(session, query, query.project_ids)


@get(
    "/project/audit_logs",
    summary="List the project's audit logs",
    opt=operation(returns=Page[AuditLogObject], query=ListProjectAuditLogs),
)
async def get_own_audit_logs(request: ApiRequest) -> Page[dict[str, Any]]:
    """Changes of this project and refusals of its keys, newest first. `after` continues with older entries."""
    who, query = caller(request), read_query(request, ListProjectAuditLogs)
    async with resource(request, Database).project(who.project_id) as session:
        return await _page(session, query, [who.project_id])


async def _page(
    session: AsyncSession, query: ListAuditLogs | ListProjectAuditLogs, project_ids: Sequence[str] | None
) -> Page[dict[str, Any]]:
    check_event_types(query)
    found = await list_entries(session, query, project_ids)
    data = [show_entry(entry) for entry in found[: query.limit]]
    if query.before is not None and query.after is None:
        data.reverse()
    return Page(
        data=data,
        first_id=data[0]["id"] if data else None,
        last_id=data[-1]["id"] if data else None,
        has_more=len(found) > query.limit,
    )


ROUTES = [get_own_audit_logs]
ADMIN_ROUTES = [get_audit_logs]
