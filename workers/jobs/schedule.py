"""From accepted to admitted: the datasets are judged and the money reserved, then the job waits for a free slot.

Slots are given out in turns: one leased row, `admission_turns`, is the work of looking at all waiting jobs, and the
rule in `service/jobs/queue.py` says which of them the free slots go to. A waiting job looks for nothing itself.
"""

from itertools import islice

import structlog
from prometheus_client import Counter
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.billing import actions as billing
from service.catalogue.base_models import BaseModel
from service.database import leases
from service.database.leases import Claim
from service.database.tables import File, Job, Model, SchedulingPass
from service.datasets.files.reports import request_ready_report
from service.datasets.report_schema import FileReport as Report
from service.errors import InvalidRequest, QuotaExceeded
from service.jobs.actions import accept_estimate
from service.jobs.lifecycle import JobError
from service.jobs.queue import Admission, admissions
from service.jobs.record import Move, move
from service.jobs.resolved_request import estimate_for
from service.jobs.rules import dataset_fault
from service.jobs.waiting import IS_WAITING, lock_accounts, look
from service.limits.enforcement import settle_tokens
from service.limits.scheduling_pass import request_scheduling_pass
from workers.context import Context

log = structlog.get_logger()

ADMITTED = Counter("tunegate_jobs_admitted_total", "Jobs that were given a slot.", ["account"])

LOOK_AGAIN_SECONDS = 5.0
LOOK_ANYWAY_SECONDS = 30.0
"""How often the waiting jobs are looked at if nobody asks: the safety net."""

MOST_AT_A_TIME = 50
"""Admissions of one turn, so that its transaction stays short; the next turn follows at once."""


async def judge(ctx: Context, claimed: Claim[Job]) -> None:
    """`validating` → `waiting`, `failed` or `cancelled`; or wait on for a report."""
    job = claimed.row
    async with ctx.db.worker() as session:
        if job.cancel_requested_at is not None:
            await cancel(session, claimed, "Cancelled before it began.")
            return
        base = await _base_model(ctx, session, job)
        if base is None:
            await fail(
                session, claimed, JobError("model_not_found", f"The model {job.model} is no longer offered.", "model")
            )
            return
        training: Report | None = None
        for file_id, param in ((job.training_file_id, "training_file"), (job.validation_file_id, "validation_file")):
            if file_id is None:
                continue
            report = await _report(session, file_id, base)
            if report is None:
                await leases.give_back(
                    session,
                    claimed,
                    {"waiting_reason": f"The {param} is being checked."},
                    due_in_seconds=LOOK_AGAIN_SECONDS,
                )
                return
            fault = dataset_fault(report, method_type=job.method["type"], model=base, param=param)
            if fault is not None:
                await fail(session, claimed, fault)
                return
            training = training or report
        if job.price_micros_per_million is None and training is not None:
            try:
                estimate = await estimate_for(session, training, base, job.method, ctx.today())
                await accept_estimate(session, job, estimate)
            except (QuotaExceeded, InvalidRequest) as refused:
                await fail(session, claimed, JobError(refused.code, refused.message, refused.param))
                return
        await move(
            session,
            claimed,
            Move(
                to="waiting",
                message="Files validated, moving job to queued state",
                values={
                    "n_epochs": job.n_epochs,
                    "price_micros_per_million": job.price_micros_per_million,
                    "expected_micros": job.expected_micros,
                },
                due_in_seconds=None,
            ),
        )


async def attend(ctx: Context, claimed: Claim[Job]) -> None:
    """See to what its caller wants of a waiting job, and let it rest: the turn admits it."""
    job = claimed.row
    async with ctx.db.worker() as session:
        if job.cancel_requested_at is not None:
            await cancel(session, claimed, "Cancelled while it waited.")
            return
        reason = "Paused by the caller." if job.pause_requested else None
        await leases.rest(session, claimed, {"waiting_reason": reason})
        await request_scheduling_pass(session)


async def run_scheduling_pass(ctx: Context, claimed: Claim[SchedulingPass]) -> None:
    """Give the free slots to the jobs whose turn it is. A turn that breaks is taken again, with growing pauses."""
    try:
        async with ctx.db.worker() as session:
            seconds = await _admit(ctx, session)
            fault_points.point("admissions.admitted")
            await leases.give_back(session, claimed, {"failures": 0}, due_in_seconds=seconds)
        fault_points.point("admissions.committed")
    except leases.LeaseLost:
        raise
    except Exception as error:
        failures = claimed.row.failures + 1
        log.error("admissions.turn_broke", failures=failures, exc_info=error)
        async with ctx.db.worker() as session:
            await leases.give_back(
                session,
                claimed,
                {"failures": failures},
                due_in_seconds=min(2.0 ** min(failures, 10), LOOK_ANYWAY_SECONDS),
            )


async def _admit(ctx: Context, session: AsyncSession) -> float:
    """Admit whom the rule says. Returns in how many seconds to look again if nobody asks."""
    await lock_accounts(session)
    seen = await look(session, catalogue=ctx.catalogue, today=ctx.today(), heads=MOST_AT_A_TIME)
    chosen = list(islice(admissions(seen.snapshot), MOST_AT_A_TIME))
    still_waiting = [
        IS_WAITING,
        Job.id.in_([each.job_id for each in chosen]),
        Job.pause_requested.is_(False),
        Job.cancel_requested_at.is_(None),
    ]
    free = await leases.claim(
        session,
        Job,
        lease_seconds=ctx.settings.lease_seconds,
        limit=len(chosen),
        where=still_waiting,
        only_due=False,
    )
    mine = {each.row.id: each for each in free}
    for each in chosen:
        if each.job_id in mine:
            await _give_slot(session, mine[each.job_id], each)
    if len(chosen) == MOST_AT_A_TIME or len(mine) < len(chosen):
        return 0.0
    return min(LOOK_ANYWAY_SECONDS, seen.next_hold_ends_in_seconds or LOOK_ANYWAY_SECONDS)


async def _give_slot(session: AsyncSession, claimed: Claim[Job], admission: Admission) -> None:
    """One admission, under a savepoint: a job that cannot be moved must not keep the others waiting."""
    step = Move(
        to="uploading",
        message="Sending the files to the upstream",
        values={"account_id": admission.account_id, "admitted_at": func.clock_timestamp()},
    )
    try:
        async with session.begin_nested():
            await move(session, claimed, step)
    except Exception as error:
        log.error("admissions.job_not_moved", job=admission.job_id, exc_info=error)
        return
    ADMITTED.labels(admission.account_id).inc()


async def cancel(session: AsyncSession, claimed: Claim[Job], reason: str) -> None:
    """End a job that has cost nothing as cancelled, giving its reservation back."""
    await settle_tokens(session, job_id=claimed.row.id, trained_tokens=0)
    await billing.settle(session, subject=claimed.row.id, actual_micros=0, quantity=0)
    await move(
        session,
        claimed,
        Move(
            to="cancelled",
            message="The job was cancelled",
            reason=reason,
            values={"cost_micros": 0},
            due_in_seconds=None,
        ),
    )


async def fail(session: AsyncSession, claimed: Claim[Job], error: JobError) -> None:
    """End a job that has cost nothing as failed, giving its reservation back."""
    await settle_tokens(session, job_id=claimed.row.id, trained_tokens=0)
    await billing.settle(session, subject=claimed.row.id, actual_micros=0, quantity=0)
    await move(
        session,
        claimed,
        Move(
            to="failed",
            message=f"The job failed: {error.message}",
            reason=error.code,
            error=error,
            values={"cost_micros": 0},
            due_in_seconds=None,
        ),
    )


async def _base_model(ctx: Context, session: AsyncSession, job: Job) -> BaseModel | None:
    base = ctx.catalogue.find(job.model)
    if base is None:
        tuned = await session.get(Model, job.model)
        base = ctx.catalogue.find(tuned.base_model) if tuned is not None else None
    return base


async def _report(session: AsyncSession, file_id: str, base: BaseModel) -> Report | None:
    file = await session.get_one(File, file_id)
    return await request_ready_report(session, file, base)
