"""Reservations and postings of inference, many calls to a transaction: a project's balance is one row, and a lock on it
lasts as long as a commit. While one transaction of a project runs, whatever else comes for it waits, and goes into the
next one together. Limits hold as for a single reservation: the same UPDATE decides (`actions.reserve_all`).

A reservation has an end. If this process dies before it posts, a worker posts in its place (`orphans.py`).
"""

import asyncio
import datetime as dt
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

import structlog
from sqlalchemy import ARRAY, Text, any_, cast, delete, func, insert, update
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.billing.actions import Actual, Reservation, reserve_all, settle_all
from service.billing.balances import month_of
from service.database.engine import Database
from service.database.tables import OpenInference, Run

log = structlog.get_logger()

MOST_TOGETHER = 200
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that is to be made: what it reserves, in money and in tokens. One of a run has its key there."""

    reservation: Reservation
    input_tokens: int
    output_tokens: int
    run_id: str | None = None
    call_key: str | None = None


@dataclass(slots=True)
class _Wish:
    what: Call | Actual
    answer: "asyncio.Future[bool]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def told(self, value: bool) -> bool:
        """Whether somebody still waits for the answer, which is given now."""
        if self.answer.done():
            return False
        self.answer.set_result(value)
        return True

    def failed(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class LedgerBatcher:
    """Books calls of inference. One per process. `life_seconds` is how long a reservation waits for its posting."""

    def __init__(self, db: Database, *, life_seconds: float) -> None:
        self._db = db
        self.life = dt.timedelta(seconds=life_seconds)
        self._waiting: dict[str, list[_Wish]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def reserve(self, project_id: str, call: Call) -> bool:
        """Reserve for a call; False over a limit. Raises what the database raises, and then nothing stays reserved."""
        return await self._ask(project_id, call)

    async def settle(self, project_id: str, actual: Actual) -> None:
        """Post what a call came to, or void it. When the database is away it is tried again, in the background."""
        try:
            await self._ask(project_id, actual)
        except Exception as error:
            log.warning("inference.posting_waits", subject=actual.subject, error=repr(error))
            self._start(self._settle_later(project_id, actual))

    async def close(self) -> None:
        """Let what is under way come to its end, for a few seconds; the rest is left to a worker."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _ask(self, project_id: str, what: Call | Actual) -> bool:
        wish = _Wish(what)
        if project_id in self._waiting:
            self._waiting[project_id].append(wish)
        else:
            self._waiting[project_id] = [wish]
            self._start(self._serve(project_id))
        return await wish.answer

    async def _serve(self, project_id: str) -> None:
        waiting = self._waiting[project_id]
        while waiting:
            together = waiting[:MOST_TOGETHER]
            del waiting[:MOST_TOGETHER]
            await self._book_or_fail(project_id, together)
        del self._waiting[project_id]

    async def _book_or_fail(self, project_id: str, together: list[_Wish]) -> None:
        try:
            await self._book(project_id, together)
        except (IntegrityError, DataError) as error:
            if len(together) == 1:
                self._fail(project_id, together, error)
                return
            for wish in together:  # one of them is at fault, the others shall not suffer for it
                await self._book_or_fail(project_id, [wish])
        except Exception as error:
            self._fail(project_id, together, error)

    async def _book(self, project_id: str, together: list[_Wish]) -> None:
        together = [wish for wish in together if not (isinstance(wish.what, Call) and wish.answer.done())]
        calls: list[Any] = [wish for wish in together if isinstance(wish.what, Call)]
        async with self._db.project(project_id) as session:
            await resolve(session, [wish.what for wish in together if isinstance(wish.what, Actual)])
            granted = await reserve_calls(session, project_id, [wish.what for wish in calls], life=self.life)
        fault_points.point("inference.booked")
        for wish in together:
            if isinstance(wish.what, Actual):
                wish.told(True)
        for wish, fits in zip(calls, granted, strict=True):
            if not wish.told(fits) and fits:
                self._void(project_id, wish)

    def _fail(self, project_id: str, together: list[_Wish], error: Exception) -> None:
        for wish in together:
            wish.failed(error)
            if isinstance(wish.what, Call):  # the commit may have come through although its answer did not
                self._void(project_id, wish)

    def _void(self, project_id: str, wish: _Wish) -> None:
        if isinstance(wish.what, Call):
            nothing = Actual(subject=wish.what.reservation.subject, micros=0, quantity=None)
            self._start(self._settle_later(project_id, nothing))

    async def _settle_later(self, project_id: str, actual: Actual) -> None:
        for seconds in (0.0, *RETRY_SECONDS):
            await asyncio.sleep(seconds)
            try:
                await self._ask(project_id, actual)
            except Exception as error:
                log.warning("inference.posting_waits", subject=actual.subject, error=repr(error))
            else:
                return
        log.error("inference.posting_left_to_a_worker", subject=actual.subject)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def reserve_calls(
    session: AsyncSession, project_id: str, calls: Sequence[Call], *, life: dt.timedelta
) -> list[bool]:
    """Reserve for calls that are open from now on: which of them the limits leave room for."""
    month = month_of(dt.datetime.now(dt.UTC))
    granted = await reserve_all(session, project_id, month, [call.reservation for call in calls])
    rows = [
        {
            "subject": call.reservation.subject,
            "project_id": project_id,
            "input_tokens": call.input_tokens,
            "output_tokens": call.output_tokens,
            "run_id": call.run_id,
            "call_key": call.call_key,
        }
        for call, fits in zip(calls, granted, strict=True)
        if fits
    ]
    if rows:
        await session.execute(insert(OpenInference).values(expires_at=func.now() + life), rows)
    return granted


async def resolve(session: AsyncSession, actuals: Sequence[Actual]) -> set[str]:
    """Resolve calls of inference, which then are no longer open. Returns those that were not resolved before.

    Whoever resolves a call of a run, its cost is counted there in the same transaction: a run's cost is at any time the
    sum of what was posted for it.
    """
    settled = await settle_all(session, actuals)
    if actuals:
        subjects = cast([actual.subject for actual in actuals], ARRAY(Text))
        closed = await session.execute(
            delete(OpenInference)
            .where(OpenInference.subject == any_(subjects))
            .returning(OpenInference.subject, OpenInference.run_id)
        )
        runs = {subject: run_id for subject, run_id in closed if run_id is not None and subject in settled}
        await _count_in_runs(session, [(runs[each.subject], each) for each in actuals if each.subject in runs])
    return settled


async def _count_in_runs(session: AsyncSession, posted: Sequence[tuple[str, Actual]]) -> None:
    for run_id, group in groupby(sorted(posted, key=itemgetter(0)), key=itemgetter(0)):
        of_run = [actual for _, actual in group if actual.micros or actual.quantity]
        await session.execute(
            update(Run)
            .where(Run.id == run_id)
            .values(
                cost_micros=Run.cost_micros + sum(actual.micros for actual in of_run),
                input_tokens=Run.input_tokens + sum(actual.input_tokens or 0 for actual in of_run),
                output_tokens=Run.output_tokens + sum(actual.output_tokens or 0 for actual in of_run),
            )
        )
