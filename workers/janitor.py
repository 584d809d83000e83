"""Clearing up, by documented rules (docs/operations.md): what a crash, a deletion or time has left behind."""

import datetime as dt

import structlog
from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.http.idempotency import KEY_LIFE
from service.jobs.lifecycle import ENDED
from service.tables import File, Job, PendingUpload, RememberedRequest, Upload, UploadPart
from workers.context import Context

log = structlog.get_logger()

ORPHAN_LIFE = dt.timedelta(days=1)
ENDED_UPLOAD_LIFE = dt.timedelta(days=30)
BATCH = 200
TURN = 7203684916


async def clear_up(ctx: Context) -> None:
    """One round; with several workers, one of them at a time."""
    async with ctx.db.worker() as session:
        if not await session.scalar(select(func.pg_try_advisory_xact_lock(TURN))):
            return
        await _expire_files(session)
        await _end_uploads(session)
        await session.execute(delete(RememberedRequest).where(RememberedRequest.created_at < func.now() - KEY_LIFE))
        orphans = (
            await session.scalars(
                select(PendingUpload.storage_key)
                .where(PendingUpload.created_at < func.now() - ORPHAN_LIFE)
                .limit(BATCH)
            )
        ).all()
        deleted = (
            await session.scalars(
                select(File.storage_key)
                .where(File.deleted_at.is_not(None), File.content_deleted_at.is_(None))
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
    await ctx.storage.delete_all([*orphans, *deleted, *(part.storage_key for part in parts)])
    async with ctx.db.worker() as session:
        await session.execute(delete(PendingUpload).where(PendingUpload.storage_key.in_(orphans)))
        await session.execute(update(File).where(File.storage_key.in_(deleted)).values(content_deleted_at=func.now()))
        await session.execute(delete(UploadPart).where(UploadPart.id.in_([part.id for part in parts])))
    if orphans or deleted or parts:
        log.info("janitor.cleared", orphans=len(orphans), deleted=len(deleted), parts=len(parts))


async def _expire_files(session: AsyncSession) -> None:
    needed = exists().where(
        Job.project_id == File.project_id,
        or_(Job.training_file_id == File.id, Job.validation_file_id == File.id),
        Job.state.not_in(ENDED),
    )
    await session.execute(
        update(File)
        .where(File.expires_at < func.now(), File.deleted_at.is_(None), ~needed)
        .values(deleted_at=func.now())
    )


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
