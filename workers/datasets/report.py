"""Making a dataset's report: claimed, made in a process of its own, recorded with the file's status."""

import datetime as dt
import time

import msgspec
import structlog
from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.catalogue.base_models import provider_of
from service.database import leases
from service.database.leased_work import JOBS, wake
from service.database.leases import Claim
from service.database.tables import File, FileReport, Job
from service.datasets.processes.report import ReportRequest
from service.datasets.report.build import first_errors
from service.datasets.report_schema import FileReport as Report
from service.datasets.report_schema import Finding
from service.webhooks import outbox
from workers.context import Context
from workers.datasets.retry_policy import MAX_ATTEMPTS, after_failure
from workers.process_pool import WorkFailed

log = structlog.get_logger()

PROGRESS_EVERY_SECONDS = 0.5
NOT_CHECKED = "The file could not be checked: the check ended early several times. Upload it again, or ask for help."


async def validate(ctx: Context, claimed: Claim[FileReport]) -> None:
    """Make the claimed report. One that cannot be made (see `tries`) becomes a report that says so."""
    async with leases.heartbeat(ctx.db, claimed):
        async with ctx.db.worker() as session:
            tries = claimed.row.failures + 1
            await leases.write(session, claimed, {"failures": tries})
            file = await session.get_one(File, claimed.row.file_id)
        fault_points.point("report.counted")
        if file.deleted_at is not None:
            await _end(ctx, claimed, file, _failed_report(claimed.row, file, "The file was deleted."))
            return
        if tries > MAX_ATTEMPTS:
            await _end(ctx, claimed, file, _failed_report(claimed.row, file, NOT_CHECKED))
            return
        try:
            report = await _make(ctx, claimed, file)
        except WorkFailed as error:
            log.error("validation.failed", file=file.id, tries=tries, error=str(error))
            if (again := after_failure(tries, store_unavailable=error.store_unavailable)) is not None:
                async with ctx.db.worker() as session:
                    await leases.give_back(session, claimed, {"failures": again.tries}, due_in_seconds=again.in_seconds)
                return
            report = _failed_report(claimed.row, file, NOT_CHECKED)
        fault_points.point("report.made")
        await _end(ctx, claimed, file, report)


async def _make(ctx: Context, claimed: Claim[FileReport], file: File) -> Report:
    told_at = time.monotonic()

    async def progress(done_bytes: int) -> None:
        nonlocal told_at
        if time.monotonic() - told_at < PROGRESS_EVERY_SECONDS:
            return
        told_at = time.monotonic()
        async with ctx.db.worker() as session:
            await leases.write(session, claimed, {"progress_bytes": done_bytes})

    return await ctx.dataset_processes.report(
        ReportRequest(
            storage_key=file.storage_key,
            file_id=file.id,
            model=claimed.row.model,
            provider=provider_of(ctx.settings.upstream_base_url),
        ),
        progress,
    )


async def _end(ctx: Context, claimed: Claim[FileReport], file: File, report: Report) -> None:
    async with ctx.db.worker() as session:
        # The file before its report, as who creates a job locks them.
        await session.execute(select(File.id).where(File.id == file.id).with_for_update(key_share=True))
        await leases.give_back(
            session,
            claimed,
            {
                "status": "ready",
                "report": msgspec.to_builtins(report),
                "progress_bytes": file.size_bytes,
                "failures": 0,
            },
            due_in_seconds=None,
        )
        await _settle_file(session, file, report)
        await _wake_jobs(session, file)
    fault_points.point("report.recorded")


async def _settle_file(session: AsyncSession, file: File, report: Report) -> None:
    status = "error" if report.errors else "processed"
    settled = await session.scalar(
        update(File)
        .where(File.id == file.id, File.status == "uploaded")
        .values(status=status, status_details=first_errors(report) if report.errors else None)
        .returning(File.id)
    )
    if settled is None:
        return
    await outbox.emit(
        session,
        project_id=file.project_id,
        type=f"file.{status}",
        subject=file.id,
        data={
            "project_id": file.project_id,
            "status": status,
            "filename": file.filename,
            "examples": report.examples,
            "errors": report.errors,
            "warnings": report.warnings,
        },
        now=dt.datetime.now(dt.UTC),
    )


async def _wake_jobs(session: AsyncSession, file: File) -> None:
    woken = await session.execute(
        update(Job)
        .where(
            Job.project_id == file.project_id,
            Job.state == "validating",
            or_(Job.training_file_id == file.id, Job.validation_file_id == file.id),
        )
        .values(due_at=func.clock_timestamp())
        .returning(Job.id, Job.lease_token)
    )
    for job_id, token in woken:
        wake(session, JOBS, job_id, f"file{token}")


def _failed_report(row: FileReport, file: File, reason: str) -> Report:
    finding = Finding(code="not_checked", severity="error", line=1, pointer="", excerpt="", message=reason, fix=None)
    return Report(
        file_id=file.id,
        status="ready",
        progress=1.0,
        model=row.model,
        max_tokens=row.max_tokens,
        bytes=file.size_bytes,
        errors=1,
        counts={"not_checked": 1},
        findings=[finding],
    )
