"""Removes leftovers of crashes, deletions and expired uploads from the storage, by the rules in docs/operations.md."""

import datetime as dt

import structlog
from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.database.tables import Deletion, File, PendingUpload, Upload, UploadPart
from service.deletions.requests import request_deletion
from workers.context import Context

log = structlog.get_logger()

PENDING_UPLOAD_LIFE = dt.timedelta(days=1)
ENDED_UPLOAD_LIFE = dt.timedelta(days=30)
BATCH = 200


async def clean_up(ctx: Context) -> None:
    """Run every rule once. Two calls may overlap, as when a leader is replaced: a missing object is no error."""
    async with ctx.db.worker() as session:
        await _expire_uploads(session)
        await _request_missing_deletions(session)
        pending = (
            await session.scalars(
                select(PendingUpload.storage_key)
                .where(PendingUpload.created_at < func.now() - PENDING_UPLOAD_LIFE)
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
    await ctx.storage.delete_all([*pending, *(part.storage_key for part in parts)])
    if pending or parts:
        fault_points.point("storage_cleanup.deleted")
    async with ctx.db.worker() as session:
        await session.execute(delete(PendingUpload).where(PendingUpload.storage_key.in_(pending)))
        await session.execute(delete(UploadPart).where(UploadPart.id.in_([part.id for part in parts])))
    if pending or parts:
        log.info("storage_cleanup.done", pending_uploads=len(pending), parts=len(parts))


async def _request_missing_deletions(session: AsyncSession) -> None:
    """Request the deletion of the content of deleted files that have none, as a release without deletions left them."""
    requested = exists().where(Deletion.kind == "file", Deletion.subject == File.id, Deletion.status != "done")
    files = await session.execute(
        select(File.project_id, File.id)
        .where(File.deleted_at.is_not(None), File.content_deleted_at.is_(None), ~requested)
        .limit(BATCH)
    )
    for project_id, file_id in files.all():
        await request_deletion(session, project_id=project_id, kind="file", subject=file_id)


async def _expire_uploads(session: AsyncSession) -> None:
    """Expire uploads that were not completed in time, unless they are being joined, and delete old ones."""
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
