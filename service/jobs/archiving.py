"""What archiving a project does to its jobs: those that are not upstream yet are cancelled, the others go on."""

from sqlalchemy import func, insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.leased_work import JOBS, wake
from service.database.tables import Job, JobEvent
from service.ids import new_id

MESSAGE = "Cancel requested: the project was archived."


async def cancel_unsent(session: AsyncSession, project_id: str) -> int:
    """Ask for the cancel of every job that is not known to be upstream; the workers do it. Returns how many.

    Runs in the transaction that archives the project, after its row is locked: a job that is created at the same time
    is either seen here or refused there. One whose create has been sent without an answer is cancelled as soon as the
    workers find it.
    """
    asked = (
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
    if asked:
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
                for job in asked
            ],
        )
    for job in asked:
        wake(session, JOBS, job.id, f"asked{job.last_sequence}")
    return len(asked)
