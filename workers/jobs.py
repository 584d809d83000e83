"""One step of a job, by its state."""

from typing import cast

import structlog

from service import claims
from service.claims import Claim, LeaseLost
from service.jobs.lifecycle import JobError, State
from service.tables import Job
from workers.admissions import admit, fail, judge
from workers.context import Context
from workers.creates import create
from workers.polls import poll
from workers.settles import settle
from workers.uploads import upload

log = structlog.get_logger()

MAX_CRASHES = 20
HARMLESS_TO_FAIL: tuple[State, ...] = ("validating", "waiting", "uploading")
"""States in which nothing exists upstream yet, so that giving up cannot lose anything."""


async def advance(ctx: Context, claimed: Claim[Job]) -> None:
    """Do what the claimed job's state needs. A step that breaks is tried again later, with growing pauses."""
    job = claimed.row
    structlog.contextvars.bind_contextvars(job_id=job.id, project_id=job.project_id)
    try:
        await _step(ctx, claimed)
    except LeaseLost:
        log.info("job.taken_over", state=job.state)
    except Exception as error:
        log.error("job.step_broke", state=job.state, failures=job.failures + 1, exc_info=error)
        await _after_crash(ctx, claimed, error)


async def _step(ctx: Context, claimed: Claim[Job]) -> None:
    match cast("State", claimed.row.state):
        case "validating":
            await judge(ctx, claimed)
        case "waiting":
            await admit(ctx, claimed)
        case "uploading":
            await upload(ctx, claimed)
        case "creating":
            await create(ctx, claimed)
        case "running":
            await poll(ctx, claimed)
        case "settling":
            await settle(ctx, claimed)
        case "succeeded" | "failed" | "cancelled":
            async with ctx.db.worker() as session:
                await claims.give_back(session, claimed, {}, due_in_seconds=None)


async def _after_crash(ctx: Context, claimed: Claim[Job], error: Exception) -> None:
    job = claimed.row
    failures = job.failures + 1
    try:
        async with ctx.db.worker() as session:
            if failures >= MAX_CRASHES and job.state in HARMLESS_TO_FAIL:
                reason = "Something on our side kept failing. The platform team can see why by this job's id."
                await fail(session, claimed, JobError("internal_error", reason))
            else:
                await claims.give_back(
                    session, claimed, {"failures": failures}, due_in_seconds=min(2.0**failures, 60.0)
                )
    except LeaseLost:
        log.info("job.taken_over", state=job.state)
    except Exception as second:
        log.error("job.not_given_back", error=repr(second), first=repr(error))
