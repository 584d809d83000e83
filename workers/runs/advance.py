"""Runs of many calls of inference: claimed for a time_slice, each answer recorded once with what it cost.

A call reserves before it is sent (`run.reserved`), under a key that its upstream is told too (`Idempotency-Key`); its
answer, its posting in the ledger and the run's counters are one fenced transaction. So a finished call is neither asked
nor paid for again. One that was under way when its worker died keeps its reservation: whoever goes on with the run asks
it again under the same reservation and the same key, and it is posted once. A worker that loses a run (it was
cancelled, or taken over) lets what it has under way come to its end and posts what that came to.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import structlog

from service import fault_points
from service.database import leases
from service.database.leases import Claim
from service.database.tables import Run
from service.runs.plan import Plan
from service.runs.queries import finished_calls, open_calls
from service.runs.record import RunError, add_event, end
from service.storage import StorageUnavailable
from workers.context import Context
from workers.datasets.retry_policy import STORE_UNAVAILABLE, STORE_UNAVAILABLE_SECONDS
from workers.runs import comparisons, generations
from workers.runs.time_slice import Finished, TimeSlice, Unfinished

log = structlog.get_logger()

MAX_CRASHES = 20
CRASHED = RunError(
    code="run_crashed", message="The run ended early several times. Ask for less at once, or ask for help."
)


@dataclass(frozen=True, slots=True)
class RunHandlers:
    """What is particular to a kind of run.

    `open` makes the plan, or says why there can be none. `conclude` ends the run, by `record.end`, with what the plan
    has made; with an error it keeps what can be kept.
    """

    open: Callable[[Context, Run], Awaitable[Plan | RunError]]
    conclude: Callable[[Context, Claim[Run], Any, RunError | None], Awaitable[None]]


KINDS: Mapping[str, RunHandlers] = {
    "generation": RunHandlers(generations.open_plan, generations.conclude),
    "comparison": RunHandlers(comparisons.open_plan, comparisons.conclude),
}


async def advance(ctx: Context, claimed: Claim[Run]) -> None:
    """One time_slice of a run. An attempt counts before it is made, until something is answered."""
    try:
        await _advance(ctx, claimed)
    except StorageUnavailable as error:
        log.warning("run.waits_for_the_store", run=claimed.row.id, error=str(error))
        await _put_back(ctx, claimed, STORE_UNAVAILABLE, STORE_UNAVAILABLE_SECONDS)


async def _advance(ctx: Context, claimed: Claim[Run]) -> None:
    run, kind = claimed.row, KINDS[claimed.row.kind]
    async with leases.heartbeat(ctx.db, claimed):
        async with ctx.db.worker() as session:
            await leases.write(session, claimed, {"failures": run.failures + 1, "status": "running"})
            if run.status == "pending":
                await add_event(session, run, "Started")
            finished, still_open = await finished_calls(session, run), await open_calls(session, run)
        fault_points.point("run.begun")
        plan = await kind.open(ctx, run)
        if isinstance(plan, RunError):
            async with ctx.db.worker() as session:
                await end(session, claimed, plan.message, {}, error=plan)
            return
        time_slice = TimeSlice(ctx, claimed, plan, finished, still_open)
        if run.failures > MAX_CRASHES:  # also with what was made by then
            async with ctx.db.worker() as session:
                await end(session, claimed, CRASHED.message, {}, error=CRASHED)
            return
        if run.failures == MAX_CRASHES:
            time_slice.replay()
            await kind.conclude(ctx, claimed, plan, CRASHED)
            return
        match await time_slice.take():
            case Finished(error):
                await kind.conclude(ctx, claimed, plan, error)
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
