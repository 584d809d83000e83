"""Creates, reads and deletes spend alerts: of a project, or of the organisation when `project_id` is None."""

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Select, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing import limits
from service.database.tables import OrganizationSpendAlert, SpendAlert
from service.errors import InvalidRequest, NotFound, unknown_cursor
from service.ids import new_id

Alert = SpendAlert | OrganizationSpendAlert


async def create_alert(
    session: AsyncSession,
    *,
    project_id: str | None,
    threshold_micros: int,
    recipients: list[str],
    subject_prefix: str | None,
) -> Alert:
    """Create an alert. An alert of the organisation needs its balances, which are maintained from then on."""
    values: dict[str, Any] = {
        "id": new_id("alert_"),
        "threshold_micros": threshold_micros,
        "recipients": recipients,
        "subject_prefix": subject_prefix,
    }
    row: Alert
    if project_id is None:
        await limits.start_organization_balances(session)
        row = OrganizationSpendAlert(**values)
    else:
        row = SpendAlert(project_id=project_id, **values)
    session.add(row)
    await session.flush()
    return row


async def get_alert(session: AsyncSession, project_id: str | None, alert_id: str, *, lock: bool = False) -> Alert:
    """The alert. `lock` prevents changes until the transaction ends. Raises `NotFound`."""
    query = _alerts(project_id)
    query = query.where(_id(project_id) == alert_id)
    row: Alert | None = (await session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFound(f"No such spend alert: {alert_id}", param="alert_id", code="spend_alert_not_found")
    return row


async def delete_alert(session: AsyncSession, project_id: str | None, alert_id: str) -> None:
    """Delete an alert. Raises `NotFound`.

    Without another alert or a limit of the organisation, the organisation's balances are no longer maintained."""
    if project_id is None:
        await limits.lock_all_balances(session)
    row = await get_alert(session, project_id, alert_id, lock=True)
    table = type(row)
    await session.execute(delete(table).where(table.id == row.id))
    if project_id is None:
        await limits.stop_unused_organization_balances(session)


async def list_alerts(
    session: AsyncSession,
    project_id: str | None,
    *,
    after: str | None,
    before: str | None,
    limit: int,
    order: Literal["asc", "desc"],
) -> tuple[Sequence[Alert], bool]:
    """A page of alerts, and whether more follow. Raises `InvalidRequest` for an unknown cursor, or for two cursors."""
    if after is not None and before is not None:
        raise InvalidRequest("Send 'after' or 'before', not both.", param="before", code="conflicting_parameters")
    column, query = _id(project_id), _alerts(project_id)
    for name, cursor in (("after", after), ("before", before)):
        if cursor is not None and await session.scalar(_alerts(project_id).where(column == cursor)) is None:
            raise unknown_cursor(cursor, param=name)
    ascending = (order == "asc") == (before is None)  # the page before a cursor is read backwards
    cursor = after if before is None else before
    if cursor is not None:
        query = query.where(column > cursor if ascending else column < cursor)
    rows = (await session.scalars(query.order_by(column if ascending else column.desc()).limit(limit + 1))).all()
    page = list(rows[:limit])
    return (page if before is None else page[::-1]), len(rows) > limit


def _alerts(project_id: str | None) -> Select[Any]:
    if project_id is None:
        return select(OrganizationSpendAlert)
    return select(SpendAlert).where(SpendAlert.project_id == project_id)


def _id(project_id: str | None) -> Any:
    return OrganizationSpendAlert.id if project_id is None else SpendAlert.id
