"""Files and their reports, read within one project."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import BaseModel
from service.database.tables import DatasetPreparation, File, FileReport, Job, LeakageReport, Run
from service.datasets.files.schemas import ListFiles
from service.errors import NotFound, unknown_cursor


async def find_file(session: AsyncSession, project_id: str, file_id: str, *, lock: bool = False) -> File | None:
    """The file, unless it is deleted or another project's. `lock` keeps it from being deleted meanwhile."""
    query = select(File).where(File.project_id == project_id, File.id == file_id, File.deleted_at.is_(None))
    if lock:
        query = query.with_for_update(read=True)
    return (await session.scalars(query)).one_or_none()


async def get_file(session: AsyncSession, project_id: str, file_id: str, *, lock: bool = False) -> File:
    """The file, or `NotFound`. `lock` keeps it from being deleted meanwhile."""
    row = await find_file(session, project_id, file_id, lock=lock)
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


@dataclass(frozen=True, slots=True)
class Uses:
    """What a file is needed for now: jobs, preparations and runs by id, and whether a process reads it."""

    jobs: Sequence[str]
    preparations: Sequence[str]
    runs: Sequence[str]
    being_read: bool

    def __bool__(self) -> bool:
        return bool(self.jobs or self.preparations or self.runs or self.being_read)


def not_compared_yet() -> ColumnElement[bool]:
    """The condition for a job whose model is still to be compared before it is deployed."""
    return Job.finished_at.is_(None) | (Job.deploy_status == "comparing")


async def uses_of(session: AsyncSession, project_id: str, file_id: str) -> Uses:
    """What needs the file. Whoever asks has locked the file's row, so that nothing new comes to need it meanwhile.

    A row of a report that another transaction is at counts as being read: it is being claimed, or ended.
    """
    trained_on = or_(Job.training_file_id == file_id, Job.validation_file_id == file_id)
    compared_over = Job.deploy_comparison["file"].astext == file_id
    jobs = select(Job.id).where(
        Job.project_id == project_id,
        or_(trained_on & Job.finished_at.is_(None), compared_over & not_compared_yet()),
    )
    preparations = select(DatasetPreparation.id).where(
        DatasetPreparation.project_id == project_id,
        DatasetPreparation.input_file_id == file_id,
        DatasetPreparation.finished_at.is_(None),
    )
    runs = select(Run.id).where(Run.project_id == project_id, Run.input_file_id == file_id, Run.finished_at.is_(None))
    being_read = False
    for table, of_file in (
        (FileReport, FileReport.file_id == file_id),
        (LeakageReport, or_(LeakageReport.training_file_id == file_id, LeakageReport.validation_file_id == file_id)),
    ):
        pending = of_file & (table.status == "pending")
        there = (await session.scalars(select(table.id).where(pending))).all()
        at_rest = (
            await session.scalars(
                select(table.id)
                .where(pending, or_(table.leased_until.is_(None), table.leased_until < func.now()))
                .with_for_update(skip_locked=True)
            )
        ).all()
        being_read = being_read or not set(there) <= set(at_rest)
    return Uses(
        jobs=(await session.scalars(jobs.limit(5))).all(),
        preparations=(await session.scalars(preparations.limit(5))).all(),
        runs=(await session.scalars(runs.limit(5))).all(),
        being_read=being_read,
    )
