"""Removes files that have expired, or whose project's retention period has passed.

The retention period starts with the end of the last job that trained on the file or produced it, or with the file's
creation if no job used it. A file that a job, a preparation or a report needs is not removed.
"""

import datetime as dt

import structlog
from sqlalchemy import ColumnElement, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import File, Job, Project
from service.datasets.files.actions import discard_file
from service.identity import audit
from workers.context import Context

log = structlog.get_logger()

BATCH = 200


async def remove_expired_files(ctx: Context, *, batch: int = BATCH) -> int:
    """Remove every file that is due for removal, found in batches. Returns their number."""
    removed = 0
    for reason, condition in (("expired", File.expires_at < func.now()), ("retention", _past_retention())):
        removed += await _remove(ctx, reason, condition, batch)
    return removed


async def _remove(ctx: Context, reason: str, condition: ColumnElement[bool], batch: int) -> int:
    removed, last = 0, ""
    while True:
        async with ctx.db.worker() as session:
            found = (
                await session.execute(
                    select(File.project_id, File.id)
                    .where(File.deleted_at.is_(None), File.id > last, condition)
                    .order_by(File.id)
                    .limit(batch)
                )
            ).all()
        for project_id, file_id in found:
            removed += await _remove_one(ctx, project_id, file_id, reason)
        if len(found) < batch:
            return removed
        last = found[-1].id


async def _remove_one(ctx: Context, project_id: str, file_id: str, reason: str) -> bool:
    """Remove a file unless it is in use; that is checked under its lock, as when a caller deletes it."""
    try:
        async with ctx.db.worker() as session:
            await _discard(session, project_id, file_id)
            await audit.record(
                session,
                audit.SYSTEM,
                "resource.deleted",
                project_id=project_id,
                resource_id=file_id,
                data={"resource_type": "file", "reason": reason},
            )
    except _IsUsed:
        return False
    log.info("file.removed", project=project_id, file=file_id, reason=reason)
    return True


class _IsUsed(Exception):
    """The file is used or deleted already, so the transaction is rolled back."""


async def _discard(session: AsyncSession, project_id: str, file_id: str) -> None:
    uses = await discard_file(session, project_id, file_id)
    if uses is None or uses:
        raise _IsUsed


def _past_retention() -> ColumnElement[bool]:
    """The condition for a file to have been neither created nor used by a job within its project's retention period."""
    since = func.now() - Project.retention_days * literal(dt.timedelta(days=1))
    used = (
        select(literal(1))
        .where(
            Job.project_id == File.project_id,
            or_(Job.training_file_id == File.id, Job.validation_file_id == File.id),
            or_(Job.finished_at.is_(None), Job.finished_at >= since),
        )
        .correlate(File, Project)
    )
    past_retention = (
        select(literal(1))
        .where(
            Project.id == File.project_id,
            Project.status.in_(("active", "archived")),
            Project.retention_days.is_not(None),
            File.created_at < since,
            ~used.exists(),
        )
        .correlate(File)
    )
    return past_retention.exists()
