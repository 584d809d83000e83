"""One worker's turn at a run: as many calls under way as the upstream bears, each answer recorded as it comes."""

import asyncio
import datetime as dt
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import msgspec
import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.billing.actions import Actual
from service.billing.balances import lock, month_of
from service.billing.ledger import grant
from service.billing.ledger_batcher import reserve_calls, resolve
from service.billing.prices import amount_of, dollar_text
from service.database import leases
from service.database.leases import Claim, LeaseLost
from service.database.tables import Run, RunCall
from service.errors import InvalidRequest, NotFound, QuotaExceeded, RateLimited, Unavailable
from service.identity.callers import Caller
from service.inference.requests import inference_request_of
from service.inference.routing import Router
from service.limits.rates import estimated_tokens
from service.runs.pacing import ConcurrencyWindow, wait_seconds
from service.runs.plan import Answer, Call, Plan, unanswered
from service.runs.record import RunError, add_event
from workers.context import Context
from workers.runs.calls import PreparedCall, RetryLater, ask, kept_open, post_alone, reserved_micros, row_of

log = structlog.get_logger()

TIME_SLICE_SECONDS = 60.0
"""After so long a run lets others have its place; it comes back at once if nobody wants it."""

MAX_UNAVAILABLE_HOURS = 24
MAX_REFUSED = 10
"""When so many calls were refused and none was answered, the others would be refused too."""

PROGRESS_EVENTS = 20
RECORD_RETRY_SECONDS = 0.5

SHORT_WAIT_SECONDS = 5.0
"""A shorter pause does not end a turn."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Everything is answered, or (with an `error`) no more will be."""

    error: RunError | None = None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """There is more to ask: why it waits (None: it does not) and for how long."""

    reason: str | None
    seconds: float


class TimeSlice:
    """This task alone writes to the database, and each call is a task of its own."""

    def __init__(
        self, ctx: Context, claimed: Claim[Run], plan: Plan, finished: dict[str, Answer], still_open: dict[str, str]
    ) -> None:
        self._ctx = ctx
        self._claimed = claimed
        self._run = claimed.row
        self._plan = plan
        self._finished = finished
        self._open = still_open
        self._window = ConcurrencyWindow(min(self._run.concurrency, ctx.settings.run_concurrency))
        self._again: deque[Call] = deque()
        self._under_way: dict[asyncio.Task[Answer | RetryLater], PreparedCall] = {}
        self._bills: dict[asyncio.Task[Answer | RetryLater], Actual] = {}
        self._outcome: Finished | Unfinished | None = None
        self._too_tight: Finished | None = None
        now = time.monotonic()
        self._over_at, self._resume_at = now + TIME_SLICE_SECONDS, now
        self._last_answer_at = now - (dt.datetime.now(dt.UTC) - self._run.last_answer_at).total_seconds()
        self._answered = sum(answer.refusal is None for answer in finished.values())
        self._refused = len(finished) - self._answered
        self._told = self._run.done * PROGRESS_EVENTS // max(1, self._run.total)

    def replay(self) -> None:
        """Bring the plan as far as it is answered, and ask nothing."""
        next(unanswered(self._plan, self._finished), None)

    async def take(self) -> Finished | Unfinished:
        """Ask and record until all is answered, or something is in the way, or the turn is over."""
        try:
            while True:
                ready = self._resume_at <= time.monotonic()
                nothing_left = ready and self._goes_on() and await self._fill()
                pause = max(0.0, self._resume_at - time.monotonic())
                if self._under_way:
                    timeout = pause if pause and self._goes_on() else None
                    done, _ = await asyncio.wait(self._under_way, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                    if done:
                        await self._record(done)
                elif self._outcome or self._too_tight:
                    return self._outcome or self._too_tight  # type: ignore[return-value]  # one of them is there
                elif not self._goes_on():
                    return Unfinished(None, pause)
                elif pause:
                    await asyncio.sleep(pause)
                elif nothing_left:
                    return Finished()
        except LeaseLost:
            self._post_alone()
            raise
        except asyncio.CancelledError:
            if self._claimed.lost:
                self._post_alone()
            raise
        finally:
            for task in self._under_way:
                task.cancel()

    def _goes_on(self) -> bool:
        return self._outcome is None and time.monotonic() < self._over_at and not self._ctx.stopping.is_set()

    async def _fill(self) -> bool:
        """Send as many calls as may be under way. Whether there is none left to send for now."""
        wanted: list[Call] = []
        fresh = unanswered(self._plan, self._finished)
        while len(self._under_way) + len(wanted) < self._window.size:
            call = self._again.popleft() if self._again else next(fresh, None)
            if call is None:
                break
            wanted.append(call)
        if not wanted:
            return True
        admitted = await self._admitted(wanted)
        for each in await self._reserved(admitted):
            self._open[each.call.key] = each.metered_call.subject
            self._under_way[asyncio.create_task(ask(self._ctx, self._run.id, each))] = each
        return False

    async def _admitted(self, wanted: Sequence[Call]) -> list[PreparedCall]:
        """Those that the project may ask now, with what they may cost; the others are put off."""
        admitted: list[PreparedCall] = []
        for place, call in enumerate(wanted):
            try:
                admitted.append(await self._admit(call))
            except (InvalidRequest, NotFound, QuotaExceeded) as error:
                self._outcome = Finished(RunError(code=error.code, message=error.message, param=error.param))
            except (RateLimited, Unavailable) as error:
                self._wait(error.message, error.retry_after_seconds)
            else:
                continue
            self._again.extend(wanted[place:])
            break
        return admitted

    async def _admit(self, call: Call) -> PreparedCall:
        ctx, run = self._ctx, self._run
        request = await inference_request_of(
            {**call.body, "model": call.model},
            path=call.path,
            router=Router(db=ctx.db, catalogue=ctx.catalogue, accounts=ctx.accounts),
            project_id=run.project_id,
        )
        subject = self._open.get(call.key)
        if subject is None:
            await ctx.rates.admit_inference(
                {},
                Caller(key_id=run.api_key_id, project_id=run.project_id),
                model=request.route.rate_limited_model,
                tokens=estimated_tokens(request.body),
            )
        metered_call, priced = await ctx.meter.prepare(request, api_key_id=run.api_key_id, subject=subject)
        return PreparedCall(
            call, request, metered_call, replace(priced, run_id=run.id, call_key=call.key), adopted=subject is not None
        )

    async def _reserved(self, asked: Sequence[PreparedCall]) -> list[PreparedCall]:
        """Those that fit into the run's bound and the project's limits, in their order; the others are put off."""
        ctx, run = self._ctx, self._run
        new = [each for each in asked if not each.adopted]
        async with ctx.db.worker() as session:
            await lock(session, run.project_id, month_of(dt.datetime.now(dt.UTC)))
            left = await session.scalar(
                select(Run.budget_micros - Run.cost_micros).where(self._claimed.held()).with_for_update()
            )
            if left is None:
                raise LeaseLost(f"runs {run.id}")
            kept = await kept_open(session, [each for each in asked if each.adopted], ctx.ledger_batcher.lifetime)
            left -= await reserved_micros(session, run)
            fitting = grant([each.priced.reservation.amount_micros for each in new], left)
            within = new[: next((place for place, fits in enumerate(fitting) if not fits), len(new))]
            granted = await reserve_calls(
                session, run.project_id, [each.priced for each in within], lifetime=ctx.ledger_batcher.lifetime
            )
        fault_points.point("run.reserved")
        sent = [*kept, *(each for each, fits in zip(within, granted, strict=True) if fits)]
        for each in asked:
            if each not in sent:
                self._open.pop(each.call.key, None)  # one that was adopted too late is posted in full by now
                self._again.append(each.call)
        if len(within) < len(new):
            self._too_tight = Finished(_over_bound(run))
        elif not all(granted):
            refused = max(each.priced.reservation.amount_micros for each in within)
            refusal = await ctx.meter.refusal(run.project_id, refused)
            self._too_tight = Finished(RunError(code=refusal.code, message=refusal.message, param=None))
        return sent

    async def _record(self, done: set["asyncio.Task[Answer | RetryLater]"]) -> None:
        """Write down what has come, with what it cost, and let the plan have it."""
        fault_points.point("run.answered")
        answers: list[tuple[PreparedCall, Answer]] = []
        for task in done:
            asked, heard = self._under_way[task], task.result()
            match heard:
                case Answer(refusal=None):
                    bill = await asked.metered_call.bill()
                    heard = replace(
                        heard,
                        input_tokens=bill.input_tokens or 0,
                        output_tokens=bill.output_tokens or 0,
                        cost_micros=bill.micros,
                    )
                    self._answered += 1
                    self._window.answered()
                case Answer():
                    bill = asked.metered_call.zero_bill()
                    self._refused += 1
                case RetryLater(reason, seconds):
                    bill = asked.metered_call.zero_bill()
                    self._window.limited()
                    self._again.append(asked.call)
                    self._wait(reason, seconds)
                case never:
                    assert_never(never)
            self._bills[task] = bill
            if isinstance(heard, Answer):
                answers.append((asked, heard))
                self._finished[asked.call.key] = heard
                self._plan.take(asked.call.key, heard)
        await self._written([self._bills[task] for task in done], answers)
        fault_points.point("run.recorded")
        self._too_tight = None
        for task in done:
            self._open.pop(self._under_way.pop(task).call.key, None)
        if not self._answered and self._refused >= MAX_REFUSED:
            last = answers[-1][1].refusal if answers else None
            self._outcome = Finished(RunError(code="upstream_refused", message=f"Every call is refused: {last}"))

    async def _written(self, bills: Sequence[Actual], answers: Sequence[tuple[PreparedCall, Answer]]) -> None:
        """Commit them, also when the database is away for a moment: the answers are paid for."""
        while True:
            try:
                async with self._ctx.db.worker() as session:
                    await resolve(session, bills)
                    await self._write(session, answers)
            except (IntegrityError, DataError):
                raise
            except (DBAPIError, OSError) as error:
                if time.monotonic() + RECORD_RETRY_SECONDS >= self._claimed.deadline:
                    raise
                log.warning("run.not_recorded_yet", run=self._run.id, error=repr(error))
                await asyncio.sleep(RECORD_RETRY_SECONDS)
            else:
                return

    async def _write(self, session: AsyncSession, answers: Sequence[tuple[PreparedCall, Answer]]) -> None:
        run, plan = self._run, self._plan
        if not answers:
            await leases.write(session, self._claimed, {"status": "running"})
            return
        rows = [row_of(run, asked, answer) for asked, answer in answers]
        added = (await session.scalars(insert(RunCall).on_conflict_do_nothing().returning(RunCall.key), rows)).all()
        values = {"done": plan.done, "total": plan.total, "calls": Run.calls + len(added)}
        values.update(last_answer_at=func.clock_timestamp(), failures=0, waiting_reason=None)
        await leases.write(session, self._claimed, values)
        self._last_answer_at = time.monotonic()
        told = plan.done * PROGRESS_EVENTS // max(1, plan.total)
        if told != self._told:
            self._told = told
            cost = await session.scalar(select(Run.cost_micros).where(Run.id == run.id)) or 0
            data = {"done": plan.done, "total": plan.total, "cost": msgspec.to_builtins(amount_of(cost))}
            await add_event(session, run, f"{plan.done:,} of {plan.total:,} are done", data=data)

    def _wait(self, reason: str, retry_after_seconds: float | None) -> None:
        """Leave the upstream alone for a while, or for good after a day without an answer."""
        away_seconds = time.monotonic() - self._last_answer_at
        if away_seconds > MAX_UNAVAILABLE_HOURS * 3600:
            message = f"Nothing was answered for {MAX_UNAVAILABLE_HOURS} hours: {reason}"
            self._outcome = Finished(RunError(code="upstream_unavailable", message=message))
            return
        seconds = wait_seconds(since_answer_seconds=away_seconds, retry_after_seconds=retry_after_seconds)
        if seconds > SHORT_WAIT_SECONDS:
            self._outcome = self._outcome or Unfinished(reason, seconds)
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def _post_alone(self) -> None:
        """Leave what is under way to be posted without this turn."""
        for task, asked in self._under_way.items():
            post_alone(self._ctx, self._run, task, asked, self._bills.get(task))
        self._under_way = {}


def _over_bound(run: Run) -> RunError:
    return RunError(
        code="budget_exceeded",
        message=f"The next call may exceed the run's budget of {dollar_text(run.budget_micros, decimals=6)}. "
        "Give a higher `budget`.",
        param="budget",
    )
