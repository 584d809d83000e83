"""Reservations for a run's calls: within the run's budget and the project's limits, in one transaction."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ARRAY, Text, any_, cast, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.balances import lock, month_of
from service.billing.ledger import grant
from service.billing.ledger_batcher import reserve_calls
from service.billing.prices import dollar_text
from service.database.leases import Claim, LeaseLost
from service.database.tables import LedgerEntry, OpenInference, Run
from service.runs.record import RunError
from workers.context import Context
from workers.runs.calls import PreparedCall


@dataclass(frozen=True, slots=True)
class Reserved:
    """The `calls` that have a reservation and can be sent; `error` says which limit left no room for others."""

    calls: Sequence[PreparedCall]
    error: RunError | None


async def reserve(ctx: Context, claimed: Claim[Run], prepared: Sequence[PreparedCall]) -> Reserved:
    """Reserve the cost of new calls in order while they fit, and extend the reservations of adopted ones.

    An adopted call whose reservation has expired was posted in full by now, and is not among the result's calls.
    Raises `LeaseLost` when the claim is lost.
    """
    run = claimed.row
    new = [each for each in prepared if not each.adopted]
    lifetime = ctx.ledger_batcher.lifetime
    async with ctx.db.worker() as session:
        await lock(session, run.project_id, month_of(dt.datetime.now(dt.UTC)))
        left_micros = await session.scalar(
            select(Run.budget_micros - Run.cost_micros).where(claimed.held()).with_for_update()
        )
        if left_micros is None:
            raise LeaseLost(f"runs {run.id}")
        extended = await _extend(session, [each for each in prepared if each.adopted], lifetime)
        left_micros -= await _reserved_micros(session, run)
        fitting = grant([each.priced.reservation.amount_micros for each in new], left_micros)
        within_budget = new[: next((place for place, fits in enumerate(fitting) if not fits), len(new))]
        granted = await reserve_calls(
            session, run.project_id, [each.priced for each in within_budget], lifetime=lifetime
        )
    calls = [*extended, *(each for each, fits in zip(within_budget, granted, strict=True) if fits)]
    if len(within_budget) < len(new):
        return Reserved(calls, _budget_exceeded(run))
    if not all(granted):
        highest_micros = max(each.priced.reservation.amount_micros for each in within_budget)
        refusal = await ctx.meter.refusal(run.project_id, highest_micros)
        return Reserved(calls, RunError(code=refusal.code, message=refusal.message, param=None))
    return Reserved(calls, None)


async def _extend(
    session: AsyncSession, adopted: Sequence[PreparedCall], lifetime: dt.timedelta
) -> Sequence[PreparedCall]:
    """Extend open reservations to a full lifetime. Returns the calls that still have one."""
    if not adopted:
        return []
    subjects = cast([each.metered_call.subject for each in adopted], ARRAY(Text))
    still_open = set(
        await session.scalars(
            update(OpenInference)
            .where(OpenInference.subject == any_(subjects))
            .values(expires_at=func.now() + lifetime)
            .returning(OpenInference.subject)
        )
    )
    return [each for each in adopted if each.metered_call.subject in still_open]


async def _reserved_micros(session: AsyncSession, run: Run) -> int:
    """The sum of the run's open reservations, in micro-dollars."""
    reserved = await session.scalar(
        select(func.coalesce(func.sum(LedgerEntry.reserved_micros), 0))
        .join(OpenInference, OpenInference.subject == LedgerEntry.subject)
        .where(OpenInference.run_id == run.id, LedgerEntry.kind == "reserve")
    )
    return int(reserved or 0)


def _budget_exceeded(run: Run) -> RunError:
    return RunError(
        code="budget_exceeded",
        message=f"The next call may exceed the run's budget of {dollar_text(run.budget_micros, decimals=6)}. "
        "Give a higher `budget`.",
        param="budget",
    )
