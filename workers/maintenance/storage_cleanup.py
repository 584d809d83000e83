"""Clearing up, by documented rules (docs/operations.md): what a crash, a deletion or time has left behind."""

import datetime as dt

import structlog
from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.database.tables import Deletion, File, PendingUpload, Upload, UploadPart
from service.deletions.requests import request_deletion
from workers.context import Context

log = structlog.get_logger()

ORPHAN_LIFE = dt.timedelta(days=1)
ENDED_UPLOAD_LIFE = dt.timedelta(days=30)
BATCH = 200


async def clear_up(ctx: Context) -> None:
    """One round. It may run twice at a time, as when a leader was replaced: what is gone already is no error."""
    async with ctx.db.worker() as session:
        await _end_uploads(session)
        await _ask_for_what_is_left(session)
        orphans = (
            await session.scalars(
                select(PendingUpload.storage_key)
                .where(PendingUpload.created_at < func.now() - ORPHAN_LIFE)
                .limit(BATCH)
            )
        ).all()
        parts = (
            await session.execute(
                select(UploadPart.id, UploadPart.storage_key)
                .join(Upload, Upload.id == UploadPart.upload_id)
                .where(Upload.status != "pending")
                .limit(BATCH)
            )
        ).all()
    await ctx.storage.delete_all([*orphans, *(part.storage_key for part in parts)])
    if orphans or parts:
        fault_points.point("storage_cleanup.deleted")
    async with ctx.db.worker() as session:
        await session.execute(delete(PendingUpload).where(PendingUpload.storage_key.in_(orphans)))
        await session.execute(delete(UploadPart).where(UploadPart.id.in_([part.id for part in parts])))
    if orphans or parts:
        log.info("storage_cleanup.done", orphans=len(orphans), parts=len(parts))


async def _ask_for_what_is_left(session: AsyncSession) -> None:
    """Deleted files whose content is still there and that nobody works on, as of a release without deletions."""
    asked = exists().where(Deletion.kind == "file", Deletion.subject == File.id, Deletion.status != "done")
    left = await session.execute(
        select(File.project_id, File.id)
        .where(File.deleted_at.is_not(None), File.content_deleted_at.is_(None), ~asked)
        .limit(BATCH)
    )
    for project_id, file_id in left.all():
        await request_deletion(session, project_id=project_id, kind="file", subject=file_id)


async def _end_uploads(session: AsyncSession) -> None:
    """Expire what nobody completed in time, and forget what ended long ago. What is being joined is left alone."""
    await session.execute(
        update(Upload)
        .where(
            Upload.status == "pending",
            Upload.expires_at <= func.now(),
            or_(Upload.leased_until.is_(None), Upload.leased_until < func.now()),
        )
        .values(status="expired", due_at=None, leased_until=None, lease_token=Upload.lease_token + 1)
    )
    await session.execute(
        delete(Upload).where(
            Upload.status != "pending",
            Upload.expires_at < func.now() - ENDED_UPLOAD_LIFE,
            ~exists().where(UploadPart.upload_id == Upload.id),
        )
    )
