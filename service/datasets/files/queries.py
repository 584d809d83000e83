"""Reads files and their reports within one project; the refusals of files that cannot be used are made here."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import msgspec
from sqlalchemy import BindParameter, ColumnElement, bindparam, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import BaseModel
from service.database.reads import Query, Reader, columns
from service.database.tables import (
    DatasetPreparation,
    Experiment,
    ExperimentArm,
    File,
    FileReport,
    Job,
    LeakageReport,
    Run,
)
from service.datasets.files.schemas import ListFiles
from service.datasets.report_schema import FileReport as Report
from service.errors import InvalidRequest, NotFound, unknown_cursor
from service.states import FilePurpose, FileStatus

FINE_TUNE: FilePurpose = "fine-tune"
"""The purpose of training and validation data."""


async def find_file(session: AsyncSession, project_id: str, file_id: str, *, lock: bool = False) -> File | None:
    """The file, or None if it is deleted or belongs to another project.

    With `lock` it cannot be deleted before the transaction ends.
    """
    query = select(File).where(File.project_id == project_id, File.id == file_id, File.deleted_at.is_(None))
    if lock:
        query = query.with_for_update(read=True)
    return (await session.scalars(query)).one_or_none()


async def get_file(session: AsyncSession, project_id: str, file_id: str, *, lock: bool = False) -> File:
    """The file that a path names. With `lock` it cannot be deleted before the transaction ends. Raises `NotFound`."""
    row = await find_file(session, project_id, file_id, lock=lock)
    if row is None:
        raise no_such_file(file_id)
    return row


async def get_referenced_file(
    session: AsyncSession,
    project_id: str,
    file_id: str,
    *,
    param: str,
    purposes: Sequence[FilePurpose] = (FINE_TUNE,),
) -> File:
    """The file that a request names in its field `param`, locked: it cannot be deleted before the transaction ends.

    Raises `InvalidRequest` for a file that does not exist or whose purpose is none of `purposes`.
    """
    file = await find_file(session, project_id, file_id, lock=True)
    if file is None:
        raise InvalidRequest(
            f"No file '{file_id[:128]}' in this project. Upload it with purpose {_quoted(purposes)} first.",
            param=param,
            code="file_not_found",
        )
    require_purpose(file, purposes, param=param)
    return file


def require_purpose(file: File, purposes: Sequence[FilePurpose], *, param: str) -> None:
    """Raises `InvalidRequest` unless the file has one of the purposes."""
    if file.purpose not in purposes:
        raise InvalidRequest(
            f"File '{file.id}' has the purpose '{file.purpose}'; upload it with purpose {_quoted(purposes)}.",
            param=param,
            code="wrong_purpose",
        )


def no_such_file(file_id: str) -> NotFound:
    """The error for a path that names an unknown file."""
    return NotFound(f"No such File object: {file_id}", param="id", code="file_not_found")


class FileRow(NamedTuple):
    """The columns of a file that its callers see."""

    id: str
    size_bytes: int
    created_at: dt.datetime
    expires_at: dt.datetime | None
    filename: str
    purpose: FilePurpose
    status: FileStatus
    status_details: str | None


_FILES = select(*columns(File, FileRow)).where(File.project_id == bindparam("project_id"))
_ONE = Query(FileRow, _FILES.where(File.id == bindparam("file_id"), File.deleted_at.is_(None)))
_CURSOR = Query(FileRow, _FILES.where(File.id == bindparam("file_id")))


@cache
def _page(*, ascending: bool, with_purpose: bool, after_cursor: bool) -> Query[FileRow]:
    statement = _FILES.where(File.deleted_at.is_(None))
    order = File.id.asc() if ascending else File.id.desc()
    if with_purpose:
        statement = statement.where(File.purpose == bindparam("purpose"))
        order = order.nulls_first() if ascending else order.nulls_last()  # the order of `ix_files_purpose` alone
    if after_cursor:
        after: BindParameter[str] = bindparam("after")
        statement = statement.where(File.id > after if ascending else File.id < after)
    return Query(FileRow, statement.order_by(order).limit(bindparam("rows")))


async def read_file(reader: Reader, project_id: str, file_id: str) -> FileRow:
    """The file that a path names, as callers see it. Raises `NotFound`."""
    row = await reader.first(_ONE, project_id=project_id, file_id=file_id)
    if row is None:
        raise no_such_file(file_id)
    return row


async def read_files(reader: Reader, project_id: str, query: ListFiles) -> Sequence[FileRow]:
    """Up to `limit + 1` files as callers see them. Raises `InvalidRequest` for an unknown cursor."""
    if query.after is not None and await reader.first(_CURSOR, project_id=project_id, file_id=query.after) is None:
        raise unknown_cursor(query.after)
    page = _page(
        ascending=query.order == "asc", with_purpose=query.purpose is not None, after_cursor=query.after is not None
    )
    return await reader.all(page, project_id=project_id, purpose=query.purpose, after=query.after, rows=query.limit + 1)


async def find_report(session: AsyncSession, project_id: str, file_id: str, model: BaseModel) -> FileReport | None:
    """The report of a file for a model's encoding and token limit, ready or pending."""
    query = select(FileReport).where(
        FileReport.project_id == project_id,
        FileReport.file_id == file_id,
        FileReport.encoding == model.encoding,
        FileReport.max_tokens == model.max_tokens,
    )
    return (await session.scalars(query)).one_or_none()


def stored_report(row: FileReport) -> Report | None:
    """The report that a row holds, or None while it is pending."""
    return None if row.report is None else msgspec.convert({**row.report, "file_id": row.file_id}, Report)


@dataclass(frozen=True, slots=True)
class Uses:
    """The unfinished work that needs a file, by ids, and whether a worker is reading it."""

    jobs: Sequence[str]
    preparations: Sequence[str]
    runs: Sequence[str]
    experiments: Sequence[str]
    being_read: bool

    def __bool__(self) -> bool:
        return bool(self.jobs or self.preparations or self.runs or self.experiments or self.being_read)


def _may_be_compared() -> ColumnElement[bool]:
    """The condition that a job has not finished, or that its model is still being compared before it is deployed."""
    return Job.finished_at.is_(None) | (Job.deploy_status == "comparing")


async def uses_of(session: AsyncSession, project_id: str, file_id: str) -> Uses:
    """The unfinished work that needs the file. The caller holds a lock on the file's row, so that no work is added.

    A pending report whose row another transaction has locked counts as being read: it is being claimed or recorded.
    """
    trained_on = or_(Job.training_file_id == file_id, Job.validation_file_id == file_id)
    compared_over = Job.deploy_comparison["file"].astext == file_id
    jobs = select(Job.id).where(
        Job.project_id == project_id,
        or_(trained_on & Job.finished_at.is_(None), compared_over & _may_be_compared()),
    )
    preparations = select(DatasetPreparation.id).where(
        DatasetPreparation.project_id == project_id,
        DatasetPreparation.input_file_id == file_id,
        DatasetPreparation.finished_at.is_(None),
    )
    runs = select(Run.id).where(Run.project_id == project_id, Run.input_file_id == file_id, Run.finished_at.is_(None))
    being_read = False
    arms = select(ExperimentArm.experiment_id).where(ExperimentArm.training_file_id == file_id)
    experiments = select(Experiment.id).where(
        Experiment.project_id == project_id,
        Experiment.finished_at.is_(None),
        or_(
            Experiment.training_file_id == file_id,
            Experiment.validation_file_id == file_id,
            Experiment.request["comparison"]["file"].astext == file_id,
            Experiment.id.in_(arms),
        ),
    )
    for table, of_file in (
        (FileReport, FileReport.file_id == file_id),
        (LeakageReport, or_(LeakageReport.training_file_id == file_id, LeakageReport.validation_file_id == file_id)),
    ):
        pending = of_file & (table.status == "pending")
        pending_ids = (await session.scalars(select(table.id).where(pending))).all()
        unclaimed_ids = (
            await session.scalars(
                select(table.id)
                .where(pending, or_(table.leased_until.is_(None), table.leased_until < func.now()))
                .with_for_update(skip_locked=True)
            )
        ).all()
        being_read = being_read or not set(pending_ids) <= set(unclaimed_ids)
    return Uses(
        jobs=(await session.scalars(jobs.limit(5))).all(),
        preparations=(await session.scalars(preparations.limit(5))).all(),
        runs=(await session.scalars(runs.limit(5))).all(),
        experiments=(await session.scalars(experiments.limit(5))).all(),
        being_read=being_read,
    )


def _quoted(purposes: Sequence[FilePurpose]) -> str:
    return " or ".join(f"'{purpose}'" for purpose in purposes)
