"""Deletions on the worker harness: requested as callers do, and carried out step by step as workers do."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, update

from service.archiving import archive
from service.database import leases
from service.database.tables import Deletion, File, Job, Project, UpstreamFile
from service.datasets.files.actions import delete_file
from service.deletions.actions import delete_project
from service.deletions.schemas import ProjectDeletion
from service.identity import audit
from service.ids import new_id
from tests.workers.harness import WorkerHarness
from workers.deletions.carry_out import carry_out

MAX_ROUNDS = 60


async def remove(harness: WorkerHarness, file_id: str) -> None:
    """What the caller's DELETE of a file does."""
    async with harness.ctx.db.project(harness.project_id) as session:
        await delete_file(session, harness.project_id, file_id)


async def remove_project(harness: WorkerHarness) -> ProjectDeletion:
    """Archive the project and ask for its deletion."""
    async with harness.ctx.db.admin() as session:
        await archive(session, audit.SYSTEM, harness.project_id)
        return await delete_project(session, audit.SYSTEM, harness.project_id)


async def carry_out_due(harness: WorkerHarness, *, due_only: bool = False) -> int:
    """One attempt of every deletion that is not done, as if it were due. Returns their number."""
    async with harness.ctx.db.worker() as session:
        if not due_only:
            await session.execute(update(Deletion).where(Deletion.due_at.is_not(None)).values(due_at=func.now()))
        claimed = await leases.claim(session, Deletion, lease_seconds=30.0, limit=100)
    for each in claimed:
        await carry_out(harness.ctx, each)
    return len(claimed)


async def carry_out_all(harness: WorkerHarness) -> None:
    """Step on until nothing is left to do."""
    for _ in range(MAX_ROUNDS):
        if not await carry_out_due(harness):
            return
    raise AssertionError(str([(row.kind, row.subject, row.last_error) for row in await deletions(harness)]))


async def deletions(harness: WorkerHarness, kind: str | None = None) -> Sequence[Deletion]:
    """The deletions of all projects, in order."""
    async with harness.ctx.db.worker() as session:
        rows = select(Deletion).where(Deletion.kind == kind if kind else Deletion.kind.is_not(None))
        return (await session.scalars(rows.order_by(Deletion.id))).all()


async def statuses(harness: WorkerHarness, kind: str) -> list[str]:
    """How the deletions of a kind stand."""
    return [row.status for row in await deletions(harness, kind)]


async def trained(harness: WorkerHarness, **files: str) -> Job:
    """A job that has succeeded."""
    job_id = await harness.new_job(**files)
    return await harness.until_end(job_id)


async def file_row(harness: WorkerHarness, file_id: str) -> File:
    """A file's row."""
    async with harness.ctx.db.worker() as session:
        return await session.get_one(File, file_id)


async def copies(harness: WorkerHarness) -> list[str]:
    """The contents of which we know a copy upstream."""
    async with harness.ctx.db.worker() as session:
        return list(await session.scalars(select(UpstreamFile.sha256)))


async def new_project(harness: WorkerHarness) -> WorkerHarness:
    """The worker harness for another project."""
    project_id = new_id("proj_")
    async with harness.ctx.db.admin() as session:
        session.add(Project(id=project_id, name="another"))
    return WorkerHarness(harness.ctx, harness.upstream, project_id)


async def set_project(harness: WorkerHarness, **values: Any) -> None:
    """Change the project's row behind everybody's back."""
    async with harness.ctx.db.admin() as session:
        await session.execute(update(Project).where(Project.id == harness.project_id).values(**values))
