"""Files and their reports, read within one project."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service.datasets.schemas import ListFiles
from service.errors import NotFound
from service.http.pagination import unknown_cursor
from service.models.catalogue import BaseModel
from service.tables import File, FileReport, Job


async def find_file(session: AsyncSession, project_id: str, file_id: str, *, lock: bool = False) -> File | None:
    """The file, unless it is deleted or another project's. `lock` keeps it from being deleted meanwhile."""
    query = select(File).where(File.project_id == project_id, File.id == file_id, File.deleted_at.is_(None))
    if lock:
        query = query.with_for_update(read=True)
    return (await session.scalars(query)).one_or_none()


async def get_file(session: AsyncSession, project_id: str, file_id: str) -> File:
    """The file, or `NotFound`."""
    row = await find_file(session, project_id, file_id)
    if row is None:
        raise no_such_file(file_id)
    return row


def no_such_file(file_id: str) -> NotFound:
    """The refusal of an unknown file's id."""
    return NotFound(f"No such File object: {file_id}", param="id", code="file_not_found")


async def list_files(session: AsyncSession, project_id: str, query: ListFiles) -> Sequence[File]:
    """Up to `limit + 1` files. Raises `InvalidRequest` for an unknown cursor."""
    wanted = select(File).where(File.project_id == project_id, File.deleted_at.is_(None))
    if query.purpose is not None:
        wanted = wanted.where(File.purpose == query.purpose)
    ascending = query.order == "asc"
    if query.after is not None:
        known = await session.scalar(select(File.id).where(File.project_id == project_id, File.id == query.after))
        if known is None:
            raise unknown_cursor(query.after)
        wanted = wanted.where(File.id > query.after if ascending else File.id < query.after)
    wanted = wanted.order_by(File.id if ascending else File.id.desc()).limit(query.limit + 1)
    return (await session.scalars(wanted)).all()


async def find_report(session: AsyncSession, project_id: str, file_id: str, model: BaseModel) -> FileReport | None:
    """The report of a file for a model's encoding and token limit, ready or pending."""
    query = select(FileReport).where(
        FileReport.project_id == project_id,
        FileReport.file_id == file_id,
        FileReport.encoding == model.encoding,
        FileReport.max_tokens == model.max_tokens,
    )
    return (await session.scalars(query)).one_or_none()


async def live_jobs_of(session: AsyncSession, project_id: str, file_id: str) -> Sequence[str]:
    """The jobs that still need the file."""
    query = select(Job.id).where(
        Job.project_id == project_id,
        (Job.training_file_id == file_id) | (Job.validation_file_id == file_id),
        Job.finished_at.is_(None),
    )
    return (await session.scalars(query.limit(5))).all()
