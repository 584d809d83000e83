"""Advancing a run by one time slice; every answer is recorded once, with its cost.

A call reserves its cost before it is sent (`run.reserved`), under a key that is also the upstream's `Idempotency-Key`.
Its answer, its posting in the ledger and the run's counters are one fenced transaction, so an answered call is neither
repeated nor paid for again. A call that was in flight when its worker stopped keeps its reservation: the worker that
resumes the run repeats it under the same reservation and key, and it is posted once. A worker that loses a run, to a
cancellation or to another worker, waits for its calls in flight and posts their cost.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, assert_never

import structlog

from service import fault_points
from service.database import leases
from service.database.leases import Claim
from service.database.tables import Run
from service.runs.plan import Answer, Plan, replay
from service.runs.queries import open_reservations, recorded_answers
from service.runs.record import RunError, add_event, end
from service.states import RunKind
from service.storage import StorageUnavailable
from workers.context import Context
from workers.datasets.retry_policy import STORE_UNAVAILABLE, STORE_UNAVAILABLE_SECONDS
from workers.runs import comparisons, generations
from workers.runs.threads import in_thread
from workers.runs.time_slice import Finished, TimeSlice, Unfinished

log = structlog.get_logger()

MAX_CRASHES = 20
CRASHED = RunError(
    code="run_crashed", message="The run ended early several times. Ask for less at once, or ask for help."
)


@dataclass(frozen=True, slots=True)
class RunHandlers:
    """The steps that differ between the kinds of run.

    `open_plan` builds the plan, or returns why there can be none. `review` evaluates answers before the plan takes
    them, or returns why it cannot. `conclude` stores the plan's result and ends the run;
    with an error it stores what is complete.
    """

    open_plan: Callable[[Context, Run], Awaitable[Plan | RunError]]
    review: Callable[[Context, Run, Any, Mapping[str, Answer]], Awaitable[RunError | None]]
    conclude: Callable[[Context, Claim[Run], Any, RunError | None], Awaitable[None]]


HANDLERS: Mapping[RunKind, RunHandlers] = {
    "generation": RunHandlers(generations.open_plan, generations.review, generations.conclude),
    "comparison": RunHandlers(comparisons.open_plan, comparisons.review, comparisons.conclude),
}


async def advance(ctx: Context, claimed: Claim[Run]) -> None:
    """One time_slice of a run. An attempt counts before it is made, until something is answered."""
    try:
        await _advance(ctx, claimed)
    except StorageUnavailable as error:
        log.warning("run.storage_unavailable", run=claimed.row.id, error=str(error))
        await _put_back(ctx, claimed, STORE_UNAVAILABLE, STORE_UNAVAILABLE_SECONDS)


async def _advance(ctx: Context, claimed: Claim[Run]) -> None:
    run, handlers = claimed.row, HANDLERS[claimed.row.kind]
    async with leases.heartbeat(ctx.db, claimed):
        async with ctx.db.worker() as session:
            await leases.write(session, claimed, {"failures": run.failures + 1, "status": "running"})
            if run.status == "pending":
                await add_event(session, run, "Started")
            answers, open_calls = await recorded_answers(session, run), await open_reservations(session, run)
        fault_points.point("run.begun")
        plan = await handlers.open_plan(ctx, run)
        if isinstance(plan, RunError):
            async with ctx.db.worker() as session:
                await end(session, claimed, plan.message, {}, error=plan)
            return
        if run.failures > MAX_CRASHES:
            async with ctx.db.worker() as session:
                await end(session, claimed, CRASHED.message, {}, error=CRASHED)
            return
        review = partial(handlers.review, ctx, run, plan)
        if (error := await review(answers)) is not None:
            async with ctx.db.worker() as session:
                await end(session, claimed, error.message, {}, error=error)
            return
        if run.failures == MAX_CRASHES:
            await in_thread(replay, plan, answers)
            await handlers.conclude(ctx, claimed, plan, CRASHED)
            return
        match await TimeSlice(ctx, claimed, plan, answers, open_calls, review).run():
            case Finished(error):
                await handlers.conclude(ctx, claimed, plan, error)
            case Unfinished(reason, seconds):
                await _put_back(ctx, claimed, reason, seconds)
            case never:
                assert_never(never)


async def _put_back(ctx: Context, claimed: Claim[Run], reason: str | None, seconds: float) -> None:
    async with ctx.db.worker() as session:
        await leases.give_back(session, claimed, {"waiting_reason": reason, "failures": 0}, due_in_seconds=seconds)
        if reason is not None and reason != claimed.row.waiting_reason:
            await add_event(session, claimed.row, f"Waiting: {reason}", level="warn")
    fault_points.point("run.given_back")
