"""Reads a project's usage of its limits, jobs included."""

import datetime as dt

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.prices import Amount
from service.database.tables import Job
from service.limits.queries import storage_bytes, training_tokens
from service.limits.schemas import LimitsUsage
from service.states import ACTIVE, QUEUED


async def usage_of(session: AsyncSession, project_id: str, month: dt.date, *, spend: Amount) -> LimitsUsage:
    """The usage of each limit in `month`, in which `spend` is in use."""
    counted = await session.execute(
        select(Job.state, func.count())
        .where(Job.project_id == project_id, Job.finished_at.is_(None))
        .group_by(Job.state)
    )
    jobs = {row[0]: int(row[1]) for row in counted}
    return LimitsUsage(
        active_jobs=sum(jobs.get(state, 0) for state in ACTIVE),
        queued_jobs=sum(jobs.get(state, 0) for state in QUEUED),
        storage_bytes=await storage_bytes(session, project_id),
        training_tokens=await training_tokens(session, project_id, month),
        spend=spend,
    )
