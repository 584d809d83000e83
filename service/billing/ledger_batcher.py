"""Batches the reservations and postings of inference calls: many calls of a project share one transaction.

A project's balance is one row, locked until its transaction commits. While one transaction of a project runs, further
operations wait and go into the next one together. Limits apply as for single reservations: the same UPDATE decides
(`actions.reserve_all`).

A reservation expires. If this process dies before it posts, a worker posts in its place (`abandoned_reservations.py`).
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

MAX_BATCH = 200
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call before it is sent: what it reserves, in money and tokens. A call of a run has its key within the run."""

    reservation: Reservation
    input_tokens: int
    output_tokens: int
    run_id: str | None = None
    call_key: str | None = None


@dataclass(slots=True)
class _Operation:
    subject: Call | Actual
    result: "asyncio.Future[bool]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def finish(self, value: bool) -> bool:
        """Set the result. False when the caller has stopped waiting for it."""
        if self.result.done():
            return False
        self.result.set_result(value)
        return True

    def fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)


class LedgerBatcher:
    """Reserves and posts for inference calls. One per process. A reservation expires after `lifetime_seconds`."""

    def __init__(self, db: Database, *, lifetime_seconds: float) -> None:
        self._db = db
        self.lifetime = dt.timedelta(seconds=lifetime_seconds)
        self._waiting: dict[str, list[_Operation]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def reserve(self, project_id: str, call: Call) -> bool:
        """Reserve for a call; False above a limit. Raises the database's errors; then the reservation is voided."""
        return await self._submit(project_id, call)

    async def settle(self, project_id: str, actual: Actual) -> None:
        """Post a call's actual cost, or void it. If the database is unavailable, it is retried in the background."""
        try:
            await self._submit(project_id, actual)
        except Exception as error:
            log.warning("posting.deferred", subject=actual.subject, error=repr(error))
            self._start(self._settle_later(project_id, actual))

    async def close(self) -> None:
        """Wait a few seconds for pending operations; a worker posts the rest."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _submit(self, project_id: str, subject: Call | Actual) -> bool:
        operation = _Operation(subject)
        if project_id in self._waiting:
            self._waiting[project_id].append(operation)
        else:
            self._waiting[project_id] = [operation]
            self._start(self._run_batches(project_id))
        return await operation.result

    async def _run_batches(self, project_id: str) -> None:
        waiting = self._waiting[project_id]
        while waiting:
            batch = waiting[:MAX_BATCH]
            del waiting[:MAX_BATCH]
            await self._commit_or_fail(project_id, batch)
        del self._waiting[project_id]

    async def _commit_or_fail(self, project_id: str, batch: list[_Operation]) -> None:
        try:
            await self._commit(project_id, batch)
        except (IntegrityError, DataError) as error:
            if len(batch) == 1:
                self._fail(project_id, batch, error)
                return
            for operation in batch:  # one of them is at fault: the others are committed without it
                await self._commit_or_fail(project_id, [operation])
        except Exception as error:
            self._fail(project_id, batch, error)

    async def _commit(self, project_id: str, batch: list[_Operation]) -> None:
        batch = [
            operation for operation in batch if not (isinstance(operation.subject, Call) and operation.result.done())
        ]
        calls: list[Any] = [operation for operation in batch if isinstance(operation.subject, Call)]
        async with self._db.project(project_id) as session:
            await resolve(session, [operation.subject for operation in batch if isinstance(operation.subject, Actual)])
            granted = await reserve_calls(
                session, project_id, [operation.subject for operation in calls], lifetime=self.lifetime
            )
        fault_points.point("inference.booked")
        for operation in batch:
            if isinstance(operation.subject, Actual):
                operation.finish(True)
        for operation, fits in zip(calls, granted, strict=True):
            if not operation.finish(fits) and fits:
                self._void(project_id, operation)

    def _fail(self, project_id: str, batch: list[_Operation], error: Exception) -> None:
        for operation in batch:
            operation.fail(error)
            if isinstance(operation.subject, Call):  # the commit may have succeeded although it reported an error
                self._void(project_id, operation)

    def _void(self, project_id: str, operation: _Operation) -> None:
        if isinstance(operation.subject, Call):
            nothing = Actual(subject=operation.subject.reservation.subject, micros=0, quantity=None)
            self._start(self._settle_later(project_id, nothing))

    async def _settle_later(self, project_id: str, actual: Actual) -> None:
        for seconds in (0.0, *RETRY_SECONDS):
            await asyncio.sleep(seconds)
            try:
                await self._submit(project_id, actual)
            except Exception as error:
                log.warning("posting.deferred", subject=actual.subject, error=repr(error))
            else:
                return
        log.error("posting.given_up", subject=actual.subject)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def reserve_calls(
    session: AsyncSession, project_id: str, calls: Sequence[Call], *, lifetime: dt.timedelta
) -> list[bool]:
    """Reserve for calls and record them as open; returns which of them the limits leave room for."""
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
        await session.execute(insert(OpenInference).values(expires_at=func.now() + lifetime), rows)
    return granted


async def resolve(session: AsyncSession, actuals: Sequence[Actual]) -> set[str]:
    """Resolve inference calls, which are then no longer open. Returns the subjects that this call resolved.

    The cost of a run's call is added to the run in the same transaction, so that a run's cost is always the sum of what
    was posted for it.
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
        await _add_to_runs(session, [(runs[each.subject], each) for each in actuals if each.subject in runs])
    return settled


async def _add_to_runs(session: AsyncSession, posted: Sequence[tuple[str, Actual]]) -> None:
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
