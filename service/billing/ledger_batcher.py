"""Batches the reservations and postings of inference calls: many calls, of any projects, share one transaction.

While a transaction runs, further operations wait and go into the next one together, in which few statements write all
that is usual (`usual_calls`). Two transactions may run at a time, of different projects. What is not usual, and what is
of a project whose balance somebody else has locked, goes into a transaction of that project alone, so that it delays no
other project. Limits apply as for single reservations: an UPDATE decides.

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
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.billing.actions import Actual, reserve_all, settle_all
from service.billing.balances import month_of
from service.billing.usual_calls import Call, Postings, is_usual, lock_months, notify, post_usual, reserve_usual
from service.database.engine import Database
from service.database.reads import Reader
from service.database.sqlstates import is_fault_of_a_value
from service.database.tables import OpenInference, Run

log = structlog.get_logger()

__all__ = ["Call", "LedgerBatcher", "reserve_calls", "resolve"]

MAX_BATCH = 200
MAX_SHARED = 2
"""Shared transactions of a process at a time. More of them have fewer operations each, and so cost more."""

RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
CLOSE_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class _Operation:
    project_id: str
    subject: Call | Actual
    is_committed: bool = False
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


class _AlertReached(Exception):
    """Postings reached a spend alert, which the transaction of one project emits."""


class LedgerBatcher:
    """Reserves and posts for inference calls. One per process. A reservation expires after `lifetime_seconds`."""

    def __init__(self, db: Database, *, lifetime_seconds: float) -> None:
        self._db = db
        self.lifetime = dt.timedelta(seconds=lifetime_seconds)
        self._shared: list[_Operation] = []
        self._sharing = 0
        self._in_shared: set[str] = set()
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
        operation = _Operation(project_id, subject)
        if project_id in self._waiting:
            self._waiting[project_id].append(operation)
        else:
            self._shared.append(operation)
            if self._sharing < MAX_SHARED and project_id not in self._in_shared:
                self._sharing += 1
                self._start(self._run_shared_batches())
        return await operation.result

    async def _run_shared_batches(self) -> None:
        while batch := self._next_shared():
            projects = {each.project_id for each in batch}
            self._in_shared |= projects
            await self._run_shared_batch(batch)
            self._in_shared -= projects
        self._sharing -= 1

    def _next_shared(self) -> list[_Operation]:
        """Take what waits, of projects that no running shared batch contains: it would find their balances locked."""
        free = _still_awaited([each for each in self._shared if each.project_id not in self._in_shared])
        self._shared = [each for each in self._shared if each.project_id in self._in_shared] + free[MAX_BATCH:]
        return free[:MAX_BATCH]

    async def _run_shared_batch(self, batch: list[_Operation]) -> None:
        try:
            rest = await self._commit_shared(batch)
        except Exception as error:
            if not isinstance(error, _AlertReached) and not is_fault_of_a_value(error):
                self._fail(batch, error)
                return
            rest = batch  # each project's are committed without the others'
        for operation in rest:
            self._continue_alone(operation)

    async def _commit_shared(self, batch: list[_Operation]) -> list[_Operation]:
        """Commit what is usual of a batch. Returns the rest, of which nothing was written."""
        async with self._db.compiled_worker() as transaction:
            done, postings = await self._write_usual(transaction, batch, skip_locked=True)
            if postings.reached:
                raise _AlertReached
        return self._committed(batch, done)

    def _continue_alone(self, operation: _Operation) -> None:
        waiting = self._waiting.get(operation.project_id)
        if waiting is not None:
            waiting.append(operation)
        else:
            self._waiting[operation.project_id] = [operation]
            self._start(self._run_batches(operation.project_id))

    async def _run_batches(self, project_id: str) -> None:
        waiting = self._waiting[project_id]
        while waiting:
            batch = waiting[:MAX_BATCH]
            del waiting[:MAX_BATCH]
            await self._commit_or_fail(project_id, batch)
        del self._waiting[project_id]

    async def _commit_or_fail(self, project_id: str, batch: list[_Operation]) -> None:
        try:
            await self._commit(project_id, _still_awaited(batch))
        except Exception as error:
            if len(batch) == 1 or not is_fault_of_a_value(error):
                self._fail(batch, error)
                return
            for operation in batch:  # the others are committed without it
                if not operation.is_committed:
                    await self._commit_or_fail(project_id, [operation])

    async def _commit(self, project_id: str, batch: list[_Operation]) -> None:
        """Commit what is usual, then the rest, which may lock the balances of earlier months first."""
        async with self._db.project(project_id) as session:
            done, postings = await self._write_usual(await Reader.of_session(session), batch, skip_locked=False)
            await notify(session, postings)
        rest = self._committed(batch, done)
        if not rest:
            return
        async with self._db.project(project_id) as session:
            await resolve(session, [each.subject for each in rest if isinstance(each.subject, Actual)])
            calls = [(each, each.subject) for each in rest if isinstance(each.subject, Call)]
            granted = await reserve_calls(session, project_id, [call for _, call in calls], lifetime=self.lifetime)
        done = dict.fromkeys(rest, True) | dict(zip((each for each, _ in calls), granted, strict=True))
        self._committed(rest, done)

    async def _write_usual(
        self, transaction: Reader, batch: list[_Operation], *, skip_locked: bool
    ) -> tuple[dict[_Operation, bool], Postings]:
        """Write what is usual of a batch; returns it, and the postings with the alerts that they reached."""
        month = month_of(dt.datetime.now(dt.UTC))
        projects = {each.project_id for each in batch}
        locked = await lock_months(transaction, projects, month=month, skip_locked=skip_locked)
        usual = [each for each in batch if each.project_id in locked and is_usual(each.subject)]
        actuals = [(each.project_id, each.subject) for each in usual if isinstance(each.subject, Actual)]
        calls = [(each.project_id, each.subject) for each in usual if isinstance(each.subject, Call)]
        postings = await post_usual(transaction, actuals, month=month) if actuals else Postings()
        reserved = await reserve_usual(transaction, calls, month=month, lifetime=self.lifetime) if calls else ()
        done = {
            each: True
            for each in usual
            if (
                each.subject.subject in postings.subjects
                if isinstance(each.subject, Actual)
                else each.project_id in reserved
            )
        }
        return done, postings

    def _committed(self, batch: list[_Operation], done: dict[_Operation, bool]) -> list[_Operation]:
        """Set the results of what is committed, and return the rest."""
        fault_points.point("inference.booked")
        for operation, granted in done.items():
            operation.is_committed = True
            if not operation.finish(granted) and granted:
                self._void(operation)
        return [operation for operation in batch if operation not in done]

    def _fail(self, batch: list[_Operation], error: Exception) -> None:
        for operation in batch:
            if operation.is_committed:
                continue
            operation.fail(error)
            self._void(operation)  # the commit may have succeeded although it reported an error

    def _void(self, operation: _Operation) -> None:
        """Release what a call has reserved that nobody waits for."""
        if isinstance(operation.subject, Call):
            nothing = Actual(subject=operation.subject.reservation.subject, micros=0, quantity=None)
            self._start(self._settle_later(operation.project_id, nothing))

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


def _still_awaited(batch: list[_Operation]) -> list[_Operation]:
    """Without the calls whose callers have stopped waiting, for which nothing is reserved."""
    return [each for each in batch if not (isinstance(each.subject, Call) and each.result.done())]


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
