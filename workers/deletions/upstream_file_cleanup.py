"""Upstream file clean-up: removes the rows of upstream files that are no longer used, and requests their deletion.

The row is locked while the uses of its content are checked, and a job that finds the row (`workers/jobs/upload.py`)
locks it too. So either the check sees the job, or the job finds no upstream file and uploads its own.
"""

from functools import partial

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import File, Job, UpstreamFile
from service.deletions.requests import request_deletion
from service.settings import Settings


class UploadInProgress(Exception):
    """A worker may still be uploading this content; try again later."""


async def release_content(
    session: AsyncSession, settings: Settings, *, project_id: str, sha256: str, size_bytes: int
) -> None:
    """Release a content's upstream files unless a live file or job of the project uses it.

    Raises `UploadInProgress`.
    """
    rows = (
        await session.scalars(
            select(UpstreamFile)
            .where(
                UpstreamFile.project_id == project_id,
                or_(UpstreamFile.sha256 == sha256, UpstreamFile.sha256.startswith(f"{sha256}/", autoescape=True)),
            )
            .with_for_update()
        )
    ).all()
    if rows and not await _in_use(session, project_id, sha256):
        for row in rows:
            await release_upstream_file(session, settings, row, size_bytes=size_bytes)


async def release_upstream_file(
    session: AsyncSession, settings: Settings, row: UpstreamFile, *, size_bytes: int
) -> None:
    """Delete a locked row and request the deletion of its upstream file. Raises `UploadInProgress`.

    An upload without a known outcome may have left a file whose id is unknown. A second deletion searches for it by
    name, after the time in which it must have appeared in the upstream's list.
    """
    if await session.scalar(select(UpstreamFile.leased_until > func.now()).where(UpstreamFile.id == row.id)):
        raise UploadInProgress(row.id)
    request = partial(
        request_deletion,
        session,
        kind="upstream_file",
        project_id=row.project_id,
        account_id=row.account_id,
        sha256=row.sha256,
        size_bytes=size_bytes,
    )
    if row.upstream_file_id is not None:
        await request(subject=row.id, upstream_id=row.upstream_file_id)
    if row.phase == "intent" or row.failures:
        settle_seconds = settings.lease_seconds + settings.settle_seconds
        await request(subject=f"{row.id}/unanswered", in_seconds=settle_seconds)
    await session.delete(row)
    await session.flush()


async def _in_use(session: AsyncSession, project_id: str, sha256: str) -> bool:
    of_content = (File.project_id == project_id) & (File.sha256 == sha256)
    live_file = select(File.id).where(of_content, File.deleted_at.is_(None)).limit(1)
    if await session.scalar(live_file) is not None:
        return True
    named = or_(Job.training_file_id == File.id, Job.validation_file_id == File.id)
    live_job = select(Job.id).join(File, named).where(of_content, Job.finished_at.is_(None)).limit(1)
    return await session.scalar(live_job) is not None
