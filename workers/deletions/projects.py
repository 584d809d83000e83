"""Deleting a whole project, step by step, each found by what is still there: where a worker is killed, another goes on.

1. What runs is cancelled, and its end is waited for, so that the money is settled.
2. Tuned models and upstream copies become deletions of their own, and their rows go.
3. Every object under the project's prefix goes, then every row that is not kept (`deletions/kept.py`). Rows that stay
   lose their words.
4. When the upstreams have deleted theirs, the project is `deleted`. A request that
   came in before the project was archived may still write something: it is looked for under the project's lock, which
   whoever keeps a new file takes too, and then all begins again.
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
from service.deletions.queries import count_open, count_reserved
from service.deletions.redaction import (
    REDACTED_ACCOUNT,
    REDACTED_FILE,
    REDACTED_JOB,
    emptied_tables,
    referenced_by_jobs,
)
from service.deletions.requests import request_deletion
from service.identity import audit
from service.runs.record import cancel_all
from workers.context import Context
from workers.deletions.outcomes import DONE, Done, NotYet
from workers.deletions.upstream_file_cleanup import release_upstream_file

BATCH = 500
LOOK_SECONDS = 1.0
UPSTREAM_SECONDS = 5.0


async def delete_project(ctx: Context, claimed: Claim[Deletion]) -> Done | NotYet:
    """Go as far as it goes now."""
    project_id = claimed.row.subject
    async with ctx.db.worker() as session:
        await leases.write(session, claimed, {"subject": project_id})
        status = await session.scalar(select(Project.status).where(Project.id == project_id))
        if status != "deleting":
            return DONE
        running = await _stop(session, project_id)
    fault_points.point("project.stopped")
    if running:
        return NotYet(running, LOOK_SECONDS)
    await _without_words(ctx, Job, project_id, REDACTED_JOB)
    while await _let_go_of_some(ctx, project_id):
        fault_points.point("project.let_go_of_some")
    async for keys in ctx.storage.keys(f"{project_id}/"):
        await ctx.storage.delete_all(keys)
    fault_points.point("project.objects_gone")
    for table in emptied_tables():
        while await _empty_some(ctx, table, project_id):
            fault_points.point("project.emptied_some")
    while await _empty_files(ctx, project_id):
        fault_points.point("project.emptied_some")
    await _without_words(ctx, File, project_id, REDACTED_FILE)
    fault_points.point("project.rows_gone")
    return await _end(ctx, claimed, project_id)


async def _stop(session: AsyncSession, project_id: str) -> str | None:
    """Ask for the end of everything that runs. Returns what has not ended yet."""
    await session.execute(
        update(Job)
        .where(Job.project_id == project_id, Job.finished_at.is_(None), Job.cancel_requested_at.is_(None))
        .values(cancel_requested_at=func.now(), due_at=func.clock_timestamp())
    )
    ended = {"due_at": None, "leased_until": None}
    await session.execute(
        update(DatasetPreparation)
        .where(DatasetPreparation.project_id == project_id, DatasetPreparation.finished_at.is_(None))
        .values(status="cancelled", finished_at=func.now(), lease_token=DatasetPreparation.lease_token + 1, **ended)
    )
    await cancel_all(session, project_id)
    await session.execute(
        update(Upload)
        .where(Upload.project_id == project_id, Upload.status == "pending")
        .values(status="cancelled", lease_token=Upload.lease_token + 1, **ended)
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
        return "Something that was reserved is not settled yet."
    return None


async def _let_go_of_some(ctx: Context, project_id: str) -> bool:
    """Make deletions of some tuned models and upstream copies, in one transaction with their rows' end."""
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
        copies = (
            await session.scalars(
                select(UpstreamFile).where(UpstreamFile.project_id == project_id).limit(BATCH).with_for_update()
            )
        ).all()
        for copy in copies:
            sha256 = copy.sha256.partition("/")[0]
            size_bytes = await session.scalar(
                select(File.size_bytes).where(File.project_id == project_id, File.sha256 == sha256).limit(1)
            )
            await release_upstream_file(session, ctx.settings, copy, size_bytes=size_bytes or 0)
    return bool(models or copies)


async def _empty_some(ctx: Context, table: Table, project_id: str) -> bool:
    async with ctx.db.worker() as session:
        row: Any = literal_column("ctid")
        some = select(row).select_from(table).where(table.c.project_id == project_id).limit(BATCH)
        gone: Any = await session.execute(delete(table).where(row.in_(some)))
    return bool(gone.rowcount)


async def _without_words(
    ctx: Context, table: type[Job] | type[File], project_id: str, values: Mapping[str, Any]
) -> None:
    """Overwrite what a caller wrote in rows that stay."""
    last = ""
    while True:
        async with ctx.db.worker() as session:
            some = select(table.id).where(table.project_id == project_id, table.id > last).order_by(table.id)
            ids = (await session.scalars(some.limit(BATCH))).all()
            if not ids:
                return
            await session.execute(
                update(table).where(table.id.in_(ids)).values(values).execution_options(synchronize_session=False)
            )
        last = ids[-1]
        fault_points.point("project.words_gone_of_some")


async def _empty_files(ctx: Context, project_id: str) -> bool:
    """Remove files that no job names. Quotes are gone, and with them what else named any."""
    async with ctx.db.worker() as session:
        some = select(File.id).where(File.project_id == project_id, ~referenced_by_jobs()).limit(BATCH)
        gone: Any = await session.execute(delete(File).where(File.id.in_(some)))
    return bool(gone.rowcount)


async def _end(ctx: Context, claimed: Claim[Deletion], project_id: str) -> Done | NotYet:
    async with ctx.db.worker() as session:
        await leases.write(session, claimed, {"subject": project_id})
        await session.execute(select(Project.id).where(Project.id == project_id).with_for_update())
        if await _left(session, project_id) or await _has_objects(ctx, project_id):
            return NotYet("Something was written meanwhile.", 0.0)
        upstream = await count_open(session, project_id)
        if upstream.pending or upstream.failed:
            return NotYet(
                f"{upstream.pending:,} things are still to be deleted upstream, {upstream.failed:,} could not be.",
                UPSTREAM_SECONDS,
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


async def _left(session: AsyncSession, project_id: str) -> bool:
    for table in emptied_tables():
        if await session.scalar(select(text("1")).select_from(table).where(table.c.project_id == project_id).limit(1)):
            return True
    files = select(File.id).where(File.project_id == project_id, ~referenced_by_jobs()).limit(1)
    return await session.scalar(files) is not None


async def _has_objects(ctx: Context, project_id: str) -> bool:
    async for keys in ctx.storage.keys(f"{project_id}/"):
        return bool(keys)
    return False
