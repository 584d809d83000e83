"""Removing files that nobody needs any more: those that expire, and those that a project keeps no longer.

A project's retention counts from a file's last use by a job: its end, for the files it trained on and its results. A
file that no job ever used counts from its creation. What a job, a preparation or a report needs stays.
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


async def remove_outdated(ctx: Context) -> int:
    """One round over what has expired and what is kept no longer. Returns how many files were removed."""
    removed = 0
    for reason, condition in (("expired", File.expires_at < func.now()), ("retention", _outdated())):
        removed += await _remove(ctx, reason, condition)
    return removed


async def _remove(ctx: Context, reason: str, condition: ColumnElement[bool]) -> int:
    removed, last = 0, ""
    while True:
        async with ctx.db.worker() as session:
            found = (
                await session.execute(
                    select(File.project_id, File.id)
                    .where(File.deleted_at.is_(None), File.id > last, condition)
                    .order_by(File.id)
                    .limit(BATCH)
                )
            ).all()
        for project_id, file_id in found:
            removed += await _remove_one(ctx, project_id, file_id, reason)
        if len(found) < BATCH:
            return removed
        last = found[-1].id


async def _remove_one(ctx: Context, project_id: str, file_id: str, reason: str) -> bool:
    """Remove a file unless something needs it: that is looked at under its lock, as when a caller deletes it."""
    async with ctx.db.worker() as session:
        if not await _discarded(session, project_id, file_id):
            await session.rollback()
            return False
        await audit.record(
            session,
            audit.SYSTEM,
            "resource.deleted",
            project_id=project_id,
            resource_id=file_id,
            data={"resource_type": "file", "reason": reason},
        )
    log.info("file.removed", project=project_id, file=file_id, reason=reason)
    return True


async def _discarded(session: AsyncSession, project_id: str, file_id: str) -> bool:
    uses = await discard_file(session, project_id, file_id)
    return uses is not None and not uses


def _outdated() -> ColumnElement[bool]:
    """Files of projects with a retention that were neither made nor used by a job within it."""
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
    outdated_for = (
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
    return outdated_for.exists()
