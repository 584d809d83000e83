"""Letting go of upstream copies: a content's row is taken out, and what it stood for becomes work to be deleted.

The row is locked while it is looked whether anything needs the content, and a job that finds it (`uploads._bring`)
locks it too. So either this sees the job, or the job finds no copy and sends one of its own.
"""

from functools import partial

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import File, Job, UpstreamFile
from service.deletions.requests import request_deletion
from service.settings import Settings


class UploadInProgress(Exception):
    """A worker may still be sending this content: look again."""


async def release_content(
    session: AsyncSession, settings: Settings, *, project_id: str, sha256: str, size_bytes: int
) -> None:
    """Let go of a content's copies if no live file and no live job of the project has it. Raises `UploadInProgress`."""
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
    if rows and not await _needed(session, project_id, sha256):
        for row in rows:
            await release_upstream_file(session, settings, row, size_bytes=size_bytes)


async def release_upstream_file(
    session: AsyncSession, settings: Settings, row: UpstreamFile, *, size_bytes: int
) -> None:
    """Take a locked row out and have its copy deleted. Raises `UploadInProgress`.

    An upload without a clear answer may have left one that nobody knows by its id: it is looked for by its name, once
    it would show.
    """
    if await session.scalar(select(UpstreamFile.leased_until > func.now()).where(UpstreamFile.id == row.id)):
        raise UploadInProgress(row.id)
    ask = partial(
        request_deletion,
        session,
        kind="upstream_file",
        project_id=row.project_id,
        account_id=row.account_id,
        sha256=row.sha256,
        size_bytes=size_bytes,
    )
    if row.upstream_file_id is not None:
        await ask(subject=row.id, upstream_id=row.upstream_file_id)
    if row.phase == "intent" or row.failures:
        settle = settings.lease_seconds + settings.settle_seconds
        await ask(subject=f"{row.id}/unanswered", in_seconds=settle)
    await session.delete(row)
    await session.flush()


async def _needed(session: AsyncSession, project_id: str, sha256: str) -> bool:
    of_content = (File.project_id == project_id) & (File.sha256 == sha256)
    live_file = select(File.id).where(of_content, File.deleted_at.is_(None)).limit(1)
    if await session.scalar(live_file) is not None:
        return True
    named = or_(Job.training_file_id == File.id, Job.validation_file_id == File.id)
    live_job = select(Job.id).join(File, named).where(of_content, Job.finished_at.is_(None)).limit(1)
    return await session.scalar(live_job) is not None
