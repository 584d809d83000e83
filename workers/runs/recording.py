"""Recording a run's answers: their rows, their cost in the ledger and the run's progress, in one fenced transaction."""

import asyncio
import datetime as dt
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.actions import Actual
from service.billing.ledger_batcher import resolve
from service.billing.prices import amount_of
from service.database import leases
from service.database.leases import Claim
from service.database.sqlstates import is_fault_of_a_value
from service.database.tables import Run, RunCall
from service.runs.plan import Answer, Plan
from service.runs.record import add_event
from workers.context import Context
from workers.runs.calls import PreparedCall

log = structlog.get_logger()

PROGRESS_EVENTS = 20
"""The number of progress events of a whole run."""

RETRY_SECONDS = 0.5


class AnswerRecorder:
    """Records the answers of one claimed run, and knows when the last one was recorded."""

    def __init__(self, ctx: Context, claimed: Claim[Run], plan: Plan) -> None:
        self._ctx = ctx
        self._claimed = claimed
        self._plan = plan
        run = claimed.row
        self._last_answer_at = time.monotonic() - (dt.datetime.now(dt.UTC) - run.last_answer_at).total_seconds()
        self._reported_step = _progress_step(run.done, run.total)

    @property
    def seconds_since_answer(self) -> float:
        """The time since the run's last recorded answer, or since its creation."""
        return time.monotonic() - self._last_answer_at

    async def record(self, bills: Sequence[Actual], answers: Sequence[tuple[PreparedCall, Answer]]) -> None:
        """Commit answers and bills. While the database is unavailable this repeats until the lease ends, since the
        upstream has been paid for the answers."""
        while True:
            try:
                async with self._ctx.db.worker() as session:
                    await resolve(session, bills)
                    await self._write(session, answers)
            except (DBAPIError, OSError) as error:
                if is_fault_of_a_value(error) or time.monotonic() + RETRY_SECONDS >= self._claimed.deadline:
                    raise
                log.warning("run.recording_retried", run=self._claimed.row.id, error=repr(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _write(self, session: AsyncSession, answers: Sequence[tuple[PreparedCall, Answer]]) -> None:
        run, plan = self._claimed.row, self._plan
        if not answers:
            await leases.write(session, self._claimed, {"status": "running"})
            return
        rows = [_row(run, prepared, answer) for prepared, answer in answers]
        added = (await session.scalars(insert(RunCall).on_conflict_do_nothing().returning(RunCall.key), rows)).all()
        values = {"done": plan.done, "total": plan.total, "calls": Run.calls + len(added)}
        values.update(last_answer_at=func.clock_timestamp(), failures=0, waiting_reason=None)
        await leases.write(session, self._claimed, values)
        self._last_answer_at = time.monotonic()
        step = _progress_step(plan.done, plan.total)
        if step != self._reported_step:
            self._reported_step = step
            cost_micros = await session.scalar(select(Run.cost_micros).where(Run.id == run.id)) or 0
            data = {"done": plan.done, "total": plan.total, "cost": msgspec.to_builtins(amount_of(cost_micros))}
            await add_event(session, run, f"{plan.done:,} of {plan.total:,} are done", data=data)


def _progress_step(done: int, total: int) -> int:
    return done * PROGRESS_EVENTS // max(1, total)


def _row(run: Run, prepared: PreparedCall, answer: Answer) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "project_id": run.project_id,
        "key": prepared.call.key,
        "model": prepared.request.route.model,
        "message": answer.message,
        "refusal": answer.refusal,
        "finish_reason": answer.finish_reason,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "cost_micros": answer.cost_micros,
        "subject": prepared.metered_call.subject,
    }
