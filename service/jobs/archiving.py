"""Archiving a project cancels its jobs that are not upstream yet; the others continue."""

from sqlalchemy import func, insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.leased_work import JOBS, wake
from service.database.tables import Job, JobEvent
from service.ids import new_id

MESSAGE = "Cancel requested: the project was archived."


async def cancel_unsent(session: AsyncSession, project_id: str) -> int:
    """Request the cancel of every job without a recorded upstream job. Returns the number of requests.

    Runs in the transaction that archives the project, after its row is locked: a job that is created at the same time
    is either cancelled here or refused there. A job whose create request is unanswered is cancelled as soon as workers
    find its upstream job.
    """
    jobs = (
        await session.execute(
            update(Job)
            .where(
                Job.project_id == project_id,
                Job.finished_at.is_(None),
                Job.upstream_job_id.is_(None),
                Job.cancel_requested_at.is_(None),
            )
            .values(cancel_requested_at=func.now(), due_at=func.clock_timestamp(), last_sequence=Job.last_sequence + 1)
            .returning(Job.id, Job.last_sequence)
            .execution_options(synchronize_session=False)
        )
    ).all()
    if jobs:
        await session.execute(
            insert(JobEvent),
            [
                {
                    "id": new_id("ftevent-"),
                    "project_id": project_id,
                    "job_id": job.id,
                    "sequence": job.last_sequence,
                    "level": "info",
                    "type": "message",
                    "message": MESSAGE,
                }
                for job in jobs
            ],
        )
    for job in jobs:
        wake(session, JOBS, job.id, f"request{job.last_sequence}")
    return len(jobs)
