"""Requests a scheduling pass, which admits waiting jobs to free slots of the upstream accounts.

Waiting jobs are never due themselves, so ten thousand of them cost nothing. Every change that may admit one (a job
begins to wait, a slot becomes free, a limit is raised, a pause ends) makes the one row of `admission_turns` due, in the
transaction of that change.
"""

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.leased_work import SCHEDULING, wake
from service.database.tables import SchedulingPass

SINGLE_ROW = "jobs"


async def request_scheduling_pass(session: AsyncSession) -> None:
    """Make a scheduling pass due as soon as this transaction has committed.

    Call it last in a transaction: its row is the last in the order in which rows are locked.
    """
    await session.execute(
        update(SchedulingPass).where(SchedulingPass.id == SINGLE_ROW).values(due_at=func.clock_timestamp())
    )
    wake(session, SCHEDULING, SINGLE_ROW, "requested")
