"""A scheduling pass: `waiting` → `uploading` for the jobs that get the free slots of the upstream accounts.

The one row of `admission_turns` is the pass's leased work. A pass reads all waiting jobs, and the rule in
`service/jobs/queue.py` decides which of them get the free slots. A waiting job is never polled by itself.
"""

from itertools import islice

import structlog
from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.backoff import backoff_seconds
from service.database import leases
from service.database.leases import Claim
from service.database.tables import Job, SchedulingPass
from service.jobs.queue import Admission, admissions
from service.jobs.record import apply_transition
from service.jobs.transitions import Transition
from service.jobs.waiting import IS_WAITING, lock_accounts, read_queue
from workers.context import Context

log = structlog.get_logger()

ADMITTED = Counter("tunegate_jobs_admitted_total", "Jobs that were given a slot.", ["account"])

MAX_INTERVAL_SECONDS = 30.0
"""The longest time between two passes: the safety net for a request that was lost."""

MAX_ADMISSIONS = 50
"""Admissions in one pass, so that its transaction stays short; the next pass follows at once."""


async def run_scheduling_pass(ctx: Context, claimed: Claim[SchedulingPass]) -> None:
    """Give the free slots to waiting jobs. A pass that fails is repeated after growing pauses."""
    try:
        async with ctx.db.worker() as session:
            seconds = await _admit(ctx, session)
            fault_points.point("schedule.admitted")
            await leases.give_back(session, claimed, {"failures": 0}, due_in_seconds=seconds)
        fault_points.point("schedule.committed")
    except leases.LeaseLost:
        raise
    except Exception as error:
        failures = claimed.row.failures + 1
        log.error("scheduling_pass.failed", failures=failures, exc_info=error)
        seconds = backoff_seconds(failures, max_seconds=MAX_INTERVAL_SECONDS)
        async with ctx.db.worker() as session:
            await leases.give_back(session, claimed, {"failures": failures}, due_in_seconds=seconds)


async def _admit(ctx: Context, session: AsyncSession) -> float:
    """Admit the jobs that the rule selects. Returns the seconds until the next pass if none is requested."""
    await lock_accounts(session)
    queue = await read_queue(session, catalogue=ctx.catalogue, today=ctx.today(), heads=MAX_ADMISSIONS)
    selected = list(islice(admissions(queue.snapshot), MAX_ADMISSIONS))
    still_waiting = [
        IS_WAITING,
        Job.id.in_([each.job_id for each in selected]),
        Job.pause_requested.is_(False),
        Job.cancel_requested_at.is_(None),
    ]
    claims = await leases.claim(
        session,
        Job,
        lease_seconds=ctx.settings.lease_seconds,
        limit=len(selected),
        where=still_waiting,
        only_due=False,
    )
    claim_of = {each.row.id: each for each in claims}
    for each in selected:
        if each.job_id in claim_of:
            await _give_slot(session, claim_of[each.job_id], each)
    if len(selected) == MAX_ADMISSIONS or len(claim_of) < len(selected):
        return 0.0
    return min(MAX_INTERVAL_SECONDS, queue.next_cool_down_ends_in_seconds or MAX_INTERVAL_SECONDS)


async def _give_slot(session: AsyncSession, claimed: Claim[Job], admission: Admission) -> None:
    """Make one admission, under a savepoint: a job whose transition fails must not delay the others."""
    try:
        async with session.begin_nested():
            await apply_transition(session, claimed, Transition.to_uploading(account_id=admission.account_id))
    except Exception as error:
        log.error("job.not_admitted", job=admission.job_id, exc_info=error)
        return
    ADMITTED.labels(admission.account_id).inc()
