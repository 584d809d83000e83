"""Deployments whose rows of leased work a worker of an earlier version did not write, as during a rolling deploy.

That version had no such rows: it changed the job alone, both when a comparison was to begin and when it ended.
"""

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from service.database.engine import Database
from service.database.tables import Deployment, Job, Run


async def adopt_deployments(db: Database) -> int:
    """Add missing rows, and make those due whose comparison has ended. Returns the number of rows."""
    comparing = Job.deploy_status == "comparing"
    missing = select(Job.id, Job.project_id, func.now()).where(comparing)
    decidable = select(Job.id).join(Run, Run.id == Job.deploy_run_id).where(comparing, Run.finished_at.is_not(None))
    async with db.worker() as session:
        added: Any = await session.execute(
            insert(Deployment).from_select(["id", "project_id", "due_at"], missing).on_conflict_do_nothing()
        )
        made_due: Any = await session.execute(
            update(Deployment)
            .where(Deployment.due_at.is_(None), Deployment.id.in_(decidable))
            .values(due_at=func.now())
        )
    return int(added.rowcount) + int(made_due.rowcount)
