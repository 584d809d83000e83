"""Posts the reservations of inference calls whose process died between reserving and posting, in full.

Whether such a call was sent, and how long its response was, is unknown; its reservation is the upper bound. So the
budget is never charged less than the upstream may charge. The entry's basis is `reservation`.
"""

from itertools import groupby

import structlog
from sqlalchemy import func, select

from service.billing.actions import Actual
from service.billing.ledger_batcher import resolve
from service.database.engine import Database
from service.database.tables import LedgerEntry, OpenInference

log = structlog.get_logger()

BATCH = 500


async def resolve_abandoned_reservations(db: Database) -> int:
    """Post the reservations of open calls that have expired. Returns their number. Running it again is harmless."""
    async with db.worker() as session:
        rows = (
            await session.execute(
                select(OpenInference, LedgerEntry.reserved_micros)
                .join(LedgerEntry, (LedgerEntry.subject == OpenInference.subject) & (LedgerEntry.kind == "reserve"))
                .where(OpenInference.expires_at < func.now())
                .order_by(OpenInference.project_id)
                .limit(BATCH)
            )
        ).all()
    count = 0
    for project_id, group in groupby(rows, key=lambda row: row[0].project_id):
        actuals = [
            Actual(
                subject=call.subject,
                micros=reserved_micros,
                quantity=call.input_tokens + call.output_tokens,
                input_tokens=call.input_tokens,
                output_tokens=call.output_tokens,
                basis="reservation",
            )
            for call, reserved_micros in group
        ]
        async with db.project(project_id) as session:
            settled = await resolve(session, actuals)
        count += len(settled)
        log.warning("abandoned_reservations.posted", project=project_id, calls=sorted(settled))
    return count
