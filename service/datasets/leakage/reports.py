"""Leakage reports: requested when a caller names a training and a validation file together, made by a worker."""

import msgspec
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.leased_work import LEAKAGE_REPORTS, wake
from service.database.tables import File, LeakageReport
from service.datasets.report_schema import Leakage
from service.ids import new_id
from service.limits.unfinished_work import check_leakage_reports


async def check_new_leakage_report(
    session: AsyncSession, project_id: str, training_file_id: str, validation_file_id: str
) -> None:
    """Raise `QuotaExceeded` if two files have no report yet and too many of the project's are being made.

    Call it before the files are locked.
    """
    known = await session.scalar(
        select(LeakageReport.id).where(
            LeakageReport.project_id == project_id,
            LeakageReport.training_file_id == training_file_id,
            LeakageReport.validation_file_id == validation_file_id,
        )
    )
    if known is None:
        await check_leakage_reports(session, project_id)


async def request_leakage_report(session: AsyncSession, training: File, validation: File) -> Leakage:
    """The leakage report of two files; creates a pending one for a worker if there is none.

    The report's row stays locked until the caller's transaction ends. So a job that is created with a pending report is
    visible when the worker looks for the jobs to warn, or else the report is ready when the job is created. The caller
    must hold locks that prevent the deletion of both files.
    """
    added = await session.scalar(
        insert(LeakageReport)
        .values(
            id=new_id("leakage-"),
            project_id=training.project_id,
            training_file_id=training.id,
            validation_file_id=validation.id,
            due_at=func.now(),
        )
        .on_conflict_do_nothing(index_elements=["training_file_id", "validation_file_id"])
        .returning(LeakageReport.id)
    )
    if added is not None:
        wake(session, LEAKAGE_REPORTS, added, 0)
    row = (
        await session.scalars(
            select(LeakageReport)
            .where(
                LeakageReport.project_id == training.project_id,
                LeakageReport.training_file_id == training.id,
                LeakageReport.validation_file_id == validation.id,
            )
            .with_for_update(read=True)
        )
    ).one()
    if row.result is not None:
        return msgspec.convert({**row.result, "validation_file": validation.id}, Leakage)
    size_bytes = training.size_bytes + validation.size_bytes
    return Leakage(
        validation_file=validation.id,
        status="pending",
        progress=min(row.progress_bytes / size_bytes, 1.0) if size_bytes else 0.0,
    )
