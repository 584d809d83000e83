"""`/v1/organization/audit_logs`."""

from typing import Any

from litestar import get

from service.database.engine import Database
from service.http.bodies import read_query
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.http.wire_types import Page
from service.identity.audit_queries import list_entries
from service.identity.audit_schemas import AuditLogObject, ListAuditLogs, check_event_types, show_entry


@get(
    "/audit_logs",
    summary="List audit logs",
    opt=operation(returns=Page[AuditLogObject], query=ListAuditLogs),
)
async def get_audit_logs(request: ApiRequest) -> Page[dict[str, Any]]:
    """Changes and refusals, newest first. `after` continues with older entries, `before` with newer ones."""
    query = read_query(request, ListAuditLogs)
    check_event_types(query)
    async with resource(request, Database).admin() as session:
        found = await list_entries(session, query)
    data = [show_entry(*entry) for entry in found[: query.limit]]
    if query.before is not None and query.after is None:
        data.reverse()
    return Page(
        data=data,
        first_id=data[0]["id"] if data else None,
        last_id=data[-1]["id"] if data else None,
        has_more=len(found) > query.limit,
    )


ADMIN_ROUTES = [get_audit_logs]
