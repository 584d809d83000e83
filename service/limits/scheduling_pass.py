"""Asking for the turn in which waiting jobs are admitted.

Waiting jobs have no time of their own: ten thousand of them cost nothing. Whatever may let one in (it begins to wait,
a slot gets free, a limit is raised, a pause ends) makes the one row of `admission_turns` due, in its own transaction.
"""

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.leased_work import SCHEDULING, wake
from service.database.tables import AdmissionTurn

TURN = "jobs"


async def ask_for_turn(session: AsyncSession) -> None:
    """Have the waiting jobs looked at once this transaction has committed. The turn's row is locked last."""
    await session.execute(update(AdmissionTurn).where(AdmissionTurn.id == TURN).values(due_at=func.clock_timestamp()))
    wake(session, SCHEDULING, TURN, "asked")
