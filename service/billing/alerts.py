"""Emits spend alert events, in the transaction whose posting brings a month to an alert's threshold.

A conditional UPDATE of the alert's row decides, so one of several concurrent postings emits the event. It triggers
once a month; after its threshold is raised it can trigger again, after it is lowered it cannot.
"""

import datetime as dt
from collections.abc import Mapping

from sqlalchemy import String, cast, func, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.balances import LockedMonth, not_notified
from service.billing.ledger import MonthBalance
from service.billing.prices import amount_fields
from service.database.tables import OrganizationSpendAlert, SpendAlert
from service.webhooks import outbox

TRIGGERED = "spend_alert.triggered"


async def notify(session: AsyncSession, before: LockedMonth, after: MonthBalance) -> None:
    """Emit an event for every alert whose threshold the posting has reached; `after` is the month after the posting.

    Events go to the endpoints of the project that posted, also for alerts of the organisation.
    """
    now = dt.datetime.now(dt.UTC)
    if before.alert_at is not None and after.posted >= before.alert_at:
        for alert_id, threshold in await _reached(session, SpendAlert, before, after.posted):
            data = {"scope": "project", "spent": amount_fields(after.posted), **_threshold_fields(before, threshold)}
            await _emit(session, before.project_id, alert_id, data, now)
    organization = after.organization
    if (
        organization is not None
        and before.organization_alert_at is not None
        and organization.posted >= before.organization_alert_at
    ):
        for alert_id, threshold in await _reached(session, OrganizationSpendAlert, before, organization.posted):
            data = {"scope": "organization", **_threshold_fields(before, threshold)}
            await _emit(session, before.project_id, alert_id, data, now)


async def _reached(
    session: AsyncSession, table: type[SpendAlert] | type[OrganizationSpendAlert], month: LockedMonth, posted: int
) -> list[tuple[str, int]]:
    key = month.month.isoformat()
    query = update(table).where(table.threshold_micros <= posted, not_notified(table, month.month))
    if table is SpendAlert:
        query = query.where(SpendAlert.project_id == month.project_id)
    triggered = func.jsonb_build_object(cast(key, String), table.threshold_micros)
    rows = await session.execute(
        query.values(notified=cast(table.notified, JSONB).concat(cast(triggered, JSONB))).returning(
            table.id, table.threshold_micros
        )
    )
    return [(alert_id, threshold) for alert_id, threshold in rows]


def _threshold_fields(month: LockedMonth, threshold: int) -> dict[str, object]:
    return {
        "project_id": month.project_id,
        "month": month.month.strftime("%Y-%m"),
        "threshold": amount_fields(threshold),
    }


async def _emit(
    session: AsyncSession, project_id: str, alert_id: str, data: Mapping[str, object], now: dt.datetime
) -> None:
    await outbox.emit(session, project_id=project_id, type=TRIGGERED, subject=alert_id, data=data, now=now)
