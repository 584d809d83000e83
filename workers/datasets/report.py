"""Makes the reports of datasets; a report is recorded together with the file's status."""

import datetime as dt

import msgspec
from sqlalchemy import bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.catalogue.base_models import provider_of
from service.database import leases
from service.database.leased_work import JOBS, wake
from service.database.leases import Claim
from service.database.tables import File, FileReport, Job
from service.datasets.checks.file import LIMIT_REACHED, NOT_CHECKED
from service.datasets.processes.messages import ReportRequest
from service.datasets.report_schema import FileReport as Report
from service.datasets.report_schema import Finding, first_errors
from service.processes.pool import OnProgress
from service.webhooks import outbox
from workers.context import Context
from workers.datasets.in_process import DatasetWork, attempt
from workers.datasets.limits import cpu_seconds

ENDED_EARLY = "The file could not be checked: the check ended early several times. Upload it again, or ask for help."


_LOCK_FILE = select(File.id).where(File.id == bindparam("file_id")).with_for_update(key_share=True)

_SET_STATUS = (
    update(File)
    .where(File.id == bindparam("file_id"), File.status == "uploaded")
    .values(status=bindparam("new_status"), status_details=bindparam("new_details"))
    .returning(File.id)
)

_WAKE_JOBS = (
    update(Job)
    .where(
        Job.project_id == bindparam("of_project"),
        Job.state == "validating",
        or_(Job.training_file_id == bindparam("file_id"), Job.validation_file_id == bindparam("file_id")),
    )
    .values(due_at=func.clock_timestamp())
    .returning(Job.id, Job.lease_token)
)


async def validate(ctx: Context, claimed: Claim[FileReport]) -> None:
    """Attempt the claimed report. One that is given up (see `retry_policy`) becomes a report with an error."""
    await attempt(_ReportWork(ctx, claimed))


class _ReportWork(DatasetWork[FileReport, File, Report]):
    failure_event = "validation.failed"

    def log_fields(self) -> dict[str, str]:
        return {"file": self.claimed.row.file_id}

    async def load(self, session: AsyncSession) -> File:
        return await session.get_one(File, self.claimed.row.file_id)

    def counted(self) -> None:
        fault_points.point("report.counted")

    def result_without_attempt(self, loaded: File) -> Report | None:
        if loaded.deleted_at is None:
            return None
        return _failed_report(self.claimed.row, loaded, "The file was deleted.")

    async def run(self, loaded: File, progress: OnProgress) -> Report:
        request = ReportRequest(
            storage_key=loaded.storage_key,
            file_id=loaded.id,
            model=self.claimed.row.model,
            provider=provider_of(self.ctx.settings.upstream_base_url),
            cpu_seconds=cpu_seconds(self.ctx.settings, loaded.size_bytes),
        )
        return await self.ctx.dataset_processes.report(request, progress, project_id=loaded.project_id)

    def exceeded(self, loaded: File, reason: str) -> Report:
        return _failed_report(self.claimed.row, loaded, reason, check=LIMIT_REACHED)

    def give_up(self, loaded: File) -> Report:
        return _failed_report(self.claimed.row, loaded, ENDED_EARLY)

    async def record(self, loaded: File, result: Report) -> None:
        fault_points.point("report.made")
        await _record(self.ctx, self.claimed, loaded, result)
        fault_points.point("report.recorded")


async def _record(ctx: Context, claimed: Claim[FileReport], file: File, report: Report) -> None:
    async with ctx.db.worker() as session:
        # The file is locked before its report, in the order in which the creation of a job locks them.
        await session.execute(_LOCK_FILE, {"file_id": file.id})
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
        await _set_file_status(session, file, report)
        await _wake_jobs(session, file)


async def _set_file_status(session: AsyncSession, file: File, report: Report) -> None:
    status = "error" if report.errors else "processed"
    details = first_errors(report) if report.errors else None
    values = {"file_id": file.id, "new_status": status, "new_details": details}
    changed = await session.scalar(_SET_STATUS, values)
    if changed is None:
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
    woken = await session.execute(_WAKE_JOBS, {"of_project": file.project_id, "file_id": file.id})
    for job_id, token in woken:
        wake(session, JOBS, job_id, f"file{token}")


def _failed_report(row: FileReport, file: File, reason: str, *, check: str = NOT_CHECKED) -> Report:
    finding = Finding(code=check, severity="error", line=1, pointer="", excerpt="", message=reason, fix=None)
    return Report(
        file_id=file.id,
        status="ready",
        progress=1.0,
        model=row.model,
        max_tokens=row.max_tokens,
        bytes=file.size_bytes,
        errors=1,
        counts={check: 1},
        findings=[finding],
    )
