"""Requests a file's report from a worker, reads it with prices, and deletes it.

Each action runs in its caller's transaction.
"""

import datetime as dt

import msgspec
from sqlalchemy import delete, func, or_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.queries import price_overrides
from service.catalogue.base_models import BaseModel, Catalogue
from service.catalogue.lookup import known_model
from service.database.leased_work import REPORTS, wake
from service.database.tables import File, FileReport, LeakageReport
from service.datasets.files.queries import (
    FINE_TUNE,
    find_report,
    get_file,
    get_referenced_file,
    require_purpose,
    stored_report,
)
from service.datasets.files.schemas import ReportQuery
from service.datasets.leakage.reports import check_new_leakage_report, request_leakage_report
from service.datasets.report.prices import price_lines, price_list
from service.datasets.report_schema import FileReport as Report
from service.datasets.report_schema import pending_report
from service.errors import InFlight
from service.ids import new_id
from service.limits.unfinished_work import check_file_reports


async def request_report(session: AsyncSession, file: File, model: BaseModel) -> FileReport:
    """The row of the report for the model's encoding and limit. If there is none, it is created as due for a worker."""
    added = await session.scalar(
        insert(FileReport)
        .values(
            id=new_id("report-"),
            project_id=file.project_id,
            file_id=file.id,
            model=model.name,
            encoding=model.encoding,
            max_tokens=model.max_tokens,
            due_at=func.now(),
        )
        .on_conflict_do_nothing(index_elements=["file_id", "encoding", "max_tokens"])
        .returning(FileReport.id)
    )
    if added is not None:
        wake(session, REPORTS, added, 0)
    report = await find_report(session, file.project_id, file.id, model)
    if report is None:
        raise RuntimeError("A report that was just inserted cannot be read.")
    return report


async def request_ready_report(session: AsyncSession, file: File, model: BaseModel) -> Report | None:
    """The report for the model's encoding and limit, or None while it is being made; it is requested if necessary."""
    return stored_report(await request_report(session, file, model))


def report_pending(param: str) -> InFlight:
    """The refusal of a request that needs a report which is still being made: of a new file, or for another model."""
    return InFlight(
        "The file's report for this model is still being made. Repeat the request in a second.",
        code="report_pending",
        param=param,
        retry_after_seconds=1,
    )


async def read_report(
    session: AsyncSession, project_id: str, file_id: str, query: ReportQuery, *, catalogue: Catalogue, provider: str
) -> Report:
    """A training file's report with the provider's prices of today, or its progress while a worker makes it.

    With a validation file also the examples that the two share; both files are locked until the transaction ends.
    Raises `NotFound` for the file, and `InvalidRequest` for the model, a validation file that does not exist, or a
    file that is no training data. Raises `QuotaExceeded` if too many reports are being made.
    """
    model = catalogue.default if query.model is None else known_model(catalogue, query.model)
    if await find_report(session, project_id, file_id, model) is None:
        await check_file_reports(session, project_id)
    if query.validation_file is not None:
        await check_new_leakage_report(session, project_id, file_id, query.validation_file)
    file = await get_file(session, project_id, file_id, lock=True)
    require_purpose(file, (FINE_TUNE,), param="id")
    row = await request_report(session, file, model)
    leakage = None
    if query.validation_file is not None:
        validation = await get_referenced_file(session, project_id, query.validation_file, param="validation_file")
        leakage = await request_leakage_report(session, file, validation)
    report = stored_report(row)
    if report is None:
        report = pending_report(
            file_id=file.id,
            model=model.name,
            max_tokens=model.max_tokens,
            bytes_total=file.size_bytes,
            bytes_done=row.progress_bytes,
        )
        return msgspec.structs.replace(report, leakage=leakage)
    today = dt.datetime.now(dt.UTC).date()
    prices = price_list(catalogue, provider, today=today, overrides=await price_overrides(session))
    lines = price_lines(report.format, report.billable_tokens, prices)
    return msgspec.structs.replace(report, prices=lines, leakage=leakage)


async def delete_reports(session: AsyncSession, project_id: str, file_id: str) -> None:
    """Delete the file's reports and its leakage reports with other files."""
    await session.execute(delete(FileReport).where(FileReport.project_id == project_id, FileReport.file_id == file_id))
    pair = or_(LeakageReport.training_file_id == file_id, LeakageReport.validation_file_id == file_id)
    await session.execute(delete(LeakageReport).where(LeakageReport.project_id == project_id, pair))
