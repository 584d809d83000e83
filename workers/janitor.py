"""Clearing up, by documented rules (docs/operations.md): what a crash, a deletion or time has left behind."""

import datetime as dt

import structlog
from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.http.idempotency import KEY_LIFE
from service.jobs.lifecycle import ENDED
from service.tables import File, Job, PendingUpload, RememberedRequest
from workers.context import Context

log = structlog.get_logger()

ORPHAN_LIFE = dt.timedelta(days=1)
BATCH = 200
TURN = 7203684916


async def clear_up(ctx: Context) -> None:
    """One round; with several workers, one of them at a time."""
    async with ctx.db.worker() as session:
        if not await session.scalar(select(func.pg_try_advisory_xact_lock(TURN))):
            return
        await _expire_files(session)
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
    for key in (*orphans, *deleted):
        await ctx.storage.delete(key)
    async with ctx.db.worker() as session:
        await session.execute(delete(PendingUpload).where(PendingUpload.storage_key.in_(orphans)))
        await session.execute(update(File).where(File.storage_key.in_(deleted)).values(content_deleted_at=func.now()))
    if orphans or deleted:
        log.info("janitor.cleared", orphans=len(orphans), deleted=len(deleted))


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
