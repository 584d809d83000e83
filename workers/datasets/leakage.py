"""Finding what two datasets share: claimed, found in a process of its own, recorded with a warning to the jobs."""

import time

import msgspec
import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.database import leases
from service.database.leases import Claim
from service.database.tables import File, Job, LeakageReport
from service.datasets.leakage.reports import leakage_warning
from service.datasets.processes.leakage import LeakageRequest
from service.datasets.report_schema import Leakage
from service.jobs.record import NewEvent, add_events
from workers.context import Context
from workers.datasets.retry_policy import MAX_ATTEMPTS, after_failure
from workers.process_pool import WorkFailed

log = structlog.get_logger()

PROGRESS_EVERY_SECONDS = 0.5
NOT_COMPARED = "The files could not be compared: it ended early several times."


async def compare(ctx: Context, claimed: Claim[LeakageReport]) -> None:
    """Compare the claimed pair. When that cannot be done (see `tries`) the result says so, and is no error."""
    row = claimed.row
    async with leases.heartbeat(ctx.db, claimed):
        tries = row.failures + 1
        async with ctx.db.worker() as session:
            await leases.write(session, claimed, {"failures": tries})
            training = await session.get_one(File, row.training_file_id)
            validation = await session.get_one(File, row.validation_file_id)
        fault_points.point("leakage.counted")
        if tries > MAX_ATTEMPTS:
            await _end(ctx, claimed, _not_compared(row))
            return
        told_at = time.monotonic()

        async def progress(done_bytes: int) -> None:
            nonlocal told_at
            if time.monotonic() - told_at < PROGRESS_EVERY_SECONDS:
                return
            told_at = time.monotonic()
            async with ctx.db.worker() as session:
                await leases.write(session, claimed, {"progress_bytes": done_bytes})

        request = LeakageRequest(
            training_key=training.storage_key, validation_key=validation.storage_key, validation_file=validation.id
        )
        try:
            found = await ctx.dataset_processes.compare(request, progress)
        except WorkFailed as error:
            log.error("leakage.failed", training=training.id, validation=validation.id, error=str(error))
            if (again := after_failure(tries, store_unavailable=error.store_unavailable)) is not None:
                async with ctx.db.worker() as session:
                    await leases.give_back(session, claimed, {"failures": again.tries}, due_in_seconds=again.in_seconds)
                return
            found = _not_compared(row)
        fault_points.point("leakage.made")
        await _end(ctx, claimed, found)


async def _end(ctx: Context, claimed: Claim[LeakageReport], found: Leakage) -> None:
    async with ctx.db.worker() as session:
        result = {"status": "ready", "result": msgspec.to_builtins(found), "failures": 0}
        await leases.give_back(session, claimed, result, due_in_seconds=None)
        warning = leakage_warning(found)
        if warning is not None:
            await _tell_jobs(session, claimed.row, warning)
    fault_points.point("leakage.recorded")


async def _tell_jobs(session: AsyncSession, row: LeakageReport, warning: str) -> None:
    """Tell the jobs that were created while it was being found out; a later one is told at its create."""
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
        await add_events(session, job_id, row.project_id, [NewEvent(message=warning, level="warn")])


def _not_compared(row: LeakageReport) -> Leakage:
    return Leakage(validation_file=row.validation_file_id, status="ready", notes=[NOT_COMPARED])
