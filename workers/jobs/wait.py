"""`waiting`: carries out a caller's cancel or pause. Only a scheduling pass admits a waiting job (`schedule.py`)."""

from service.database import leases
from service.database.leases import Claim
from service.database.tables import Job
from service.limits.scheduling_pass import request_scheduling_pass
from workers.context import Context
from workers.jobs.end_unbilled import cancel_unbilled


async def wait(ctx: Context, claimed: Claim[Job]) -> None:
    """Cancel the job on request; otherwise record whether it is paused, and request a scheduling pass for it."""
    job = claimed.row
    async with ctx.db.worker() as session:
        if job.cancel_requested_at is not None:
            await cancel_unbilled(session, claimed, "Cancelled while it waited.")
            return
        reason = "Paused by the caller." if job.pause_requested else None
        await leases.give_back_idle(session, claimed, {"waiting_reason": reason})
        await request_scheduling_pass(session)
