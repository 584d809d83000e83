"""Makes leakage reports: finds what two datasets share, records it, and warns the jobs that use them."""

from typing import NamedTuple

import msgspec
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.database import leases
from service.database.leases import Claim
from service.database.tables import File, Job, LeakageReport
from service.datasets.processes.messages import LeakageRequest
from service.datasets.report_schema import Leakage
from service.jobs.record import NewEvent, add_events, with_warnings
from service.jobs.summary import JobWarning
from service.jobs.warnings import of_leakage
from service.processes.pool import OnProgress
from workers.context import Context
from workers.datasets.in_process import DatasetWork, attempt
from workers.datasets.limits import cpu_seconds

NOT_COMPARED = "The files could not be compared: it ended early several times."


class _Pair(NamedTuple):
    training: File
    validation: File


async def compare(ctx: Context, claimed: Claim[LeakageReport]) -> None:
    """Attempt to compare the claimed pair. A pair that is given up (see `retry_policy`) gets a note, not an error."""
    await attempt(_LeakageWork(ctx, claimed))


class _LeakageWork(DatasetWork[LeakageReport, _Pair, Leakage]):
    failure_event = "leakage.failed"

    def log_fields(self) -> dict[str, str]:
        return {"training": self.claimed.row.training_file_id, "validation": self.claimed.row.validation_file_id}

    async def load(self, session: AsyncSession) -> _Pair:
        training = await session.get_one(File, self.claimed.row.training_file_id)
        return _Pair(training, await session.get_one(File, self.claimed.row.validation_file_id))

    def counted(self) -> None:
        fault_points.point("leakage.counted")

    def result_without_attempt(self, loaded: _Pair) -> Leakage | None:
        return None

    async def run(self, loaded: _Pair, progress: OnProgress) -> Leakage:
        request = LeakageRequest(
            training_key=loaded.training.storage_key,
            validation_key=loaded.validation.storage_key,
            validation_file=loaded.validation.id,
            cpu_seconds=cpu_seconds(self.ctx.settings, loaded.training.size_bytes + loaded.validation.size_bytes),
        )
        return await self.ctx.dataset_processes.compare(request, progress, project_id=self.claimed.row.project_id)

    def exceeded(self, loaded: _Pair, reason: str) -> Leakage:
        return Leakage(validation_file=loaded.validation.id, status="ready", notes=[f"Not compared. {reason}"])

    def give_up(self, loaded: _Pair) -> Leakage:
        return Leakage(validation_file=loaded.validation.id, status="ready", notes=[NOT_COMPARED])

    async def record(self, loaded: _Pair, result: Leakage) -> None:
        fault_points.point("leakage.made")
        async with self.ctx.db.worker() as session:
            values = {"status": "ready", "result": msgspec.to_builtins(result), "failures": 0}
            await leases.give_back(session, self.claimed, values, due_in_seconds=None)
            for warning in of_leakage(result):
                await _warn_jobs(session, self.claimed.row, warning)
        fault_points.point("leakage.recorded")


async def _warn_jobs(session: AsyncSession, row: LeakageReport, warning: JobWarning) -> None:
    """Warn the jobs that were created while the files were compared; a later job is warned when it is created."""
    jobs = await session.scalars(
        select(Job.id)
        .where(
            Job.project_id == row.project_id,
            Job.training_file_id == row.training_file_id,
            Job.validation_file_id == row.validation_file_id,
            Job.created_at >= row.created_at,
        )
        .order_by(Job.id)
    )
    for job_id in jobs.all():
        await add_events(session, job_id, row.project_id, [NewEvent(message=warning.message, level="warn")])
        await session.execute(update(Job).where(Job.id == job_id).values(warnings=with_warnings([warning])))
