"""Deletes a whole project in steps. Each step works on what still exists, so another worker can resume after a kill.

1. Jobs and runs are cancelled. The next steps wait until all have ended, so that their costs are settled.
2. Tuned models and upstream files get deletions of their own, and their rows are removed.
3. Every object under the project's prefix is deleted, then every row that is not retained
   (`service/deletions/redaction.py`). Retained rows are redacted.
4. When the upstream deletions are done, the project becomes `deleted`. A request that was accepted before the project
   was archived may still write rows or objects. A check for them runs under the project's lock, which the creation of
   a file takes too; if it finds any, all steps run again.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table, delete, func, literal_column, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.database import leases
from service.database.leases import Claim
from service.database.tables import (
    DatasetPreparation,
    Deletion,
    File,
    Job,
    LeakageReport,
    Model,
    Project,
    Upload,
    UpstreamAccount,
    UpstreamFile,
)
from service.deletions.queries import count_reserved, count_upstream_deletions
from service.deletions.redaction import (
    REDACTED_ACCOUNT,
    REDACTED_FILE,
    REDACTED_JOB,
    emptied_tables,
    referenced_by_jobs,
)
from service.deletions.requests import request_deletion
from service.experiments.record import cancel_all as cancel_experiments
from service.identity import audit
from service.runs.record import cancel_all
from workers.context import Context
from workers.deletions.outcomes import DONE, Done, NotYet
from workers.deletions.upstream_file_cleanup import release_upstream_file

BATCH = 500
RUNNING_POLL_SECONDS = 1.0
UPSTREAM_POLL_SECONDS = 5.0


async def delete_project(ctx: Context, claimed: Claim[Deletion]) -> Done | NotYet:
    """Run the steps until one has to wait."""
    project_id = claimed.row.subject
    async with ctx.db.worker() as session:
        await leases.write(session, claimed, {"subject": project_id})
        status = await session.scalar(select(Project.status).where(Project.id == project_id))
        if status != "deleting":
            return DONE
        unfinished = await _cancel_work(session, project_id)
    fault_points.point("project.stopped")
    if unfinished:
        return NotYet(unfinished, RUNNING_POLL_SECONDS)
    await _redact(ctx, Job, project_id, REDACTED_JOB)
    while await _release_some(ctx, project_id):
        fault_points.point("project.released_some")
    async for keys in ctx.storage.keys(f"{project_id}/"):
        await ctx.storage.delete_all(keys)
    fault_points.point("project.objects_deleted")
    for table in emptied_tables():
        while await _empty_some(ctx, table, project_id):
            fault_points.point("project.emptied_some")
    while await _empty_files(ctx, project_id):
        fault_points.point("project.emptied_some")
    await _redact(ctx, File, project_id, REDACTED_FILE)
    fault_points.point("project.rows_deleted")
    return await _finish(ctx, claimed, project_id)


async def _cancel_work(session: AsyncSession, project_id: str) -> str | None:
    """Cancel everything that runs. Returns a sentence about what has not ended yet, or None."""
    await session.execute(
        update(Job)
        .where(Job.project_id == project_id, Job.finished_at.is_(None), Job.cancel_requested_at.is_(None))
        .values(cancel_requested_at=func.now(), due_at=func.clock_timestamp())
    )
    released = {"due_at": None, "leased_until": None}
    await session.execute(
        update(DatasetPreparation)
        .where(DatasetPreparation.project_id == project_id, DatasetPreparation.finished_at.is_(None))
        .values(status="cancelled", finished_at=func.now(), lease_token=DatasetPreparation.lease_token + 1, **released)
    )
    await cancel_all(session, project_id)
    await cancel_experiments(session, project_id)
    await session.execute(
        update(Upload)
        .where(Upload.project_id == project_id, Upload.status == "pending")
        .values(status="cancelled", lease_token=Upload.lease_token + 1, **released)
    )
    await session.execute(
        delete(LeakageReport).where(LeakageReport.project_id == project_id, LeakageReport.status == "pending")
    )
    jobs = await session.scalar(
        select(func.count()).select_from(Job).where(Job.project_id == project_id, Job.finished_at.is_(None))
    )
    if jobs:
        return f"{jobs:,} jobs have not ended yet."
    if await count_reserved(session, project_id):
        return "A reservation is not settled yet."
    return None


async def _release_some(ctx: Context, project_id: str) -> bool:
    """Request deletions of some tuned models and upstream files, and remove their rows, in one transaction."""
    async with ctx.db.worker() as session:
        models = (
            await session.scalars(select(Model).where(Model.project_id == project_id).limit(BATCH).with_for_update())
        ).all()
        for model in models:
            await request_deletion(
                session,
                project_id=project_id,
                kind="upstream_model",
                subject=model.name,
                account_id=model.account_id,
                upstream_id=model.upstream_name,
            )
            await session.delete(model)
        upstream_files = (
            await session.scalars(
                select(UpstreamFile).where(UpstreamFile.project_id == project_id).limit(BATCH).with_for_update()
            )
        ).all()
        for upstream_file in upstream_files:
            sha256 = upstream_file.sha256.partition("/")[0]
            size_bytes = await session.scalar(
                select(File.size_bytes).where(File.project_id == project_id, File.sha256 == sha256).limit(1)
            )
            await release_upstream_file(session, ctx.settings, upstream_file, size_bytes=size_bytes or 0)
    return bool(models or upstream_files)


async def _empty_some(ctx: Context, table: Table, project_id: str) -> bool:
    async with ctx.db.worker() as session:
        row: Any = literal_column("ctid")
        batch = select(row).select_from(table).where(table.c.project_id == project_id).limit(BATCH)
        deleted: Any = await session.execute(delete(table).where(row.in_(batch)))
    return bool(deleted.rowcount)


async def _redact(ctx: Context, table: type[Job] | type[File], project_id: str, values: Mapping[str, Any]) -> None:
    """Overwrite what a caller wrote in retained rows."""
    last = ""
    while True:
        async with ctx.db.worker() as session:
            batch = select(table.id).where(table.project_id == project_id, table.id > last).order_by(table.id)
            ids = (await session.scalars(batch.limit(BATCH))).all()
            if not ids:
                return
            await session.execute(
                update(table).where(table.id.in_(ids)).values(values).execution_options(synchronize_session=False)
            )
        last = ids[-1]
        fault_points.point("project.redacted_some")


async def _empty_files(ctx: Context, project_id: str) -> bool:
    """Delete the rows of files that no job refers to. Quotes, which refer to files too, are already deleted."""
    async with ctx.db.worker() as session:
        batch = select(File.id).where(File.project_id == project_id, ~referenced_by_jobs()).limit(BATCH)
        deleted: Any = await session.execute(delete(File).where(File.id.in_(batch)))
    return bool(deleted.rowcount)


async def _finish(ctx: Context, claimed: Claim[Deletion], project_id: str) -> Done | NotYet:
    async with ctx.db.worker() as session:
        await leases.write(session, claimed, {"subject": project_id})
        await session.execute(select(Project.id).where(Project.id == project_id).with_for_update())
        if await _has_rows(session, project_id) or await _has_objects(ctx, project_id):
            return NotYet("New rows or objects were written meanwhile.", 0.0)
        upstream = await count_upstream_deletions(session, project_id)
        if upstream.pending or upstream.failed:
            return NotYet(
                f"{upstream.pending:,} upstream deletions are pending, {upstream.failed:,} have failed.",
                UPSTREAM_POLL_SECONDS,
            )
        await session.execute(
            update(UpstreamAccount)
            .where(UpstreamAccount.project_id == project_id)
            .values({**REDACTED_ACCOUNT, "deleted_at": func.now(), "version": UpstreamAccount.version + 1})
        )
        await session.execute(update(Project).where(Project.id == project_id).values(status="deleted"))
        await audit.record(
            session,
            audit.SYSTEM,
            "project.deleted",
            project_id=project_id,
            resource_id=project_id,
            data={"deletion": claimed.row.id, "completed": True},
        )
    fault_points.point("project.ended")
    return DONE


async def _has_rows(session: AsyncSession, project_id: str) -> bool:
    for table in emptied_tables():
        if await session.scalar(select(text("1")).select_from(table).where(table.c.project_id == project_id).limit(1)):
            return True
    files = select(File.id).where(File.project_id == project_id, ~referenced_by_jobs()).limit(1)
    return await session.scalar(files) is not None


async def _has_objects(ctx: Context, project_id: str) -> bool:
    async for keys in ctx.storage.keys(f"{project_id}/"):
        return bool(keys)
    return False
