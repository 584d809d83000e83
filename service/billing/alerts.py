"""Telling of spend alerts, in the transaction whose posting brings a month to their threshold.

A conditional UPDATE of the alert's row decides, so of postings that race each other one tells. A threshold is told once
a month, a higher one again, a lower one not.
"""

import datetime as dt
from collections.abc import Mapping

from sqlalchemy import String, cast, func, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.balances import Month, untold
from service.billing.ledger import Standing
from service.billing.prices import amount_fields
from service.database.tables import OrganizationSpendAlert, SpendAlert
from service.webhooks import outbox

TRIGGERED = "spend_alert.triggered"


async def tell(session: AsyncSession, before: Month, after: Standing) -> None:
    """Emit the events of the alerts whose threshold `after`, the month after a posting, has reached.

    Events go to the project's endpoints, for those of the organisation to the project's that has reached them.
    """
    now = dt.datetime.now(dt.UTC)
    if before.alert_at is not None and after.posted >= before.alert_at:
        for alert_id, threshold in await _reached(session, SpendAlert, before, after.posted):
            data = {"scope": "project", "spent": amount_fields(after.posted), **_about(before, threshold)}
            await _emit(session, before.project_id, alert_id, data, now)
    whole = after.organization
    if whole is not None and before.organization_alert_at is not None and whole.posted >= before.organization_alert_at:
        for alert_id, threshold in await _reached(session, OrganizationSpendAlert, before, whole.posted):
            data = {"scope": "organization", **_about(before, threshold)}
            await _emit(session, before.project_id, alert_id, data, now)


async def _reached(
    session: AsyncSession, table: type[SpendAlert] | type[OrganizationSpendAlert], month: Month, posted: int
) -> list[tuple[str, int]]:
    key = month.month.isoformat()
    query = update(table).where(table.threshold_micros <= posted, untold(table, month.month))
    if table is SpendAlert:
        query = query.where(SpendAlert.project_id == month.project_id)
    told = func.jsonb_build_object(cast(key, String), table.threshold_micros)
    rows = await session.execute(
        query.values(told=cast(table.told, JSONB).concat(cast(told, JSONB))).returning(table.id, table.threshold_micros)
    )
    return [(alert_id, threshold) for alert_id, threshold in rows]


def _about(month: Month, threshold: int) -> dict[str, object]:
    return {
        "project_id": month.project_id,
        "month": month.month.strftime("%Y-%m"),
        "threshold": amount_fields(threshold),
    }


async def _emit(
    session: AsyncSession, project_id: str, alert_id: str, data: Mapping[str, object], now: dt.datetime
) -> None:
    await outbox.emit(session, project_id=project_id, type=TRIGGERED, subject=alert_id, data=data, now=now)
