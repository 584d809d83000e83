"""The calls of a run: asked as a caller's inference is asked, reserved and posted as one, and adopted after a crash.

What an upstream cannot answer now (it is asked too much, is away, is out of quota) is asked again later; only a refusal
of what was asked is an answer.
"""

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import structlog
from sqlalchemy import ARRAY, Text, any_, cast, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.actions import Actual
from service.billing.ledger_batcher import Call as Priced
from service.database.tables import LedgerEntry, OpenInference, Run
from service.errors import InvalidRequest, QuotaExceeded
from service.inference.calls import refusal_of
from service.inference.metering import MeteredCall
from service.inference.requests import InferenceRequest
from service.runs.messages import parse_message
from service.runs.pacing import MAX_WAIT_SECONDS
from service.runs.plan import Answer, Call
from workers.context import Context

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class PreparedCall:
    """A call with who is asked and what it reserves; `adopted` is one that a worker before us had under way."""

    call: Call
    request: InferenceRequest
    metered_call: MeteredCall
    priced: Priced
    adopted: bool


@dataclass(frozen=True, slots=True)
class RetryLater:
    """No answer for now; `seconds` is how long the upstream wants to be left alone, if it says."""

    reason: str
    seconds: float | None


async def ask(ctx: Context, run_id: str, asked: PreparedCall) -> Answer | RetryLater:
    """Send a call, as a caller's inference is sent, and hear what comes."""
    request = asked.request
    try:
        async with asyncio.timeout(ctx.settings.inference_timeout_seconds):
            answer = await request.route.upstream.complete(
                request.path, request.body, idempotency_key=f"{run_id}/{asked.call.key}"
            )
    except (httpx2.HTTPError, TimeoutError) as error:
        log.warning("run.upstream_away", run=run_id, error=type(error).__name__)
        return RetryLater("The upstream that serves this model does not answer.", None)
    if 200 <= answer.status < 300:
        asked.metered_call.observe(answer.body)
        message, finish_reason = parse_message(answer.body)
        return Answer(message=message, finish_reason=finish_reason)
    refused = refusal_of(answer, request)
    match refused:
        case InvalidRequest():
            return Answer(refusal=refused.message)
        case QuotaExceeded():
            return RetryLater(refused.message, MAX_WAIT_SECONDS)
        case _:
            return RetryLater(refused.message, answer.retry_after_seconds)


async def kept_open(session: AsyncSession, adopted: Sequence[PreparedCall], life: dt.timedelta) -> list[PreparedCall]:
    """Those whose reservation is still open; it waits for its posting as long as a new one would."""
    if not adopted:
        return []
    subjects = cast([each.metered_call.subject for each in adopted], ARRAY(Text))
    still = set(
        await session.scalars(
            update(OpenInference)
            .where(OpenInference.subject == any_(subjects))
            .values(expires_at=func.now() + life)
            .returning(OpenInference.subject)
        )
    )
    return [each for each in adopted if each.metered_call.subject in still]


async def reserved_micros(session: AsyncSession, run: Run) -> int:
    """What the run's calls that are under way hold reserved, in micro-dollars."""
    reserved = await session.scalar(
        select(func.coalesce(func.sum(LedgerEntry.reserved_micros), 0))
        .join(OpenInference, OpenInference.subject == LedgerEntry.subject)
        .where(OpenInference.run_id == run.id, LedgerEntry.kind == "reserve")
    )
    return int(reserved or 0)


def row_of(run: Run, asked: PreparedCall, answer: Answer) -> dict[str, Any]:
    """The row of `run_calls` of an answered call."""
    return {
        "run_id": run.id,
        "project_id": run.project_id,
        "key": asked.call.key,
        "model": asked.request.route.model,
        "message": answer.message,
        "refusal": answer.refusal,
        "finish_reason": answer.finish_reason,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "cost_micros": answer.cost_micros,
        "subject": asked.metered_call.subject,
    }


_alone: set["asyncio.Task[None]"] = set()


def post_alone(
    ctx: Context, run: Run, task: "asyncio.Task[Answer | RetryLater]", asked: PreparedCall, bill: Actual | None
) -> None:
    """The run is another's, or nobody's: post what this call comes to, or came to, without recording its answer."""
    posting = asyncio.create_task(_posted(ctx, run, task, asked, bill))
    _alone.add(posting)
    posting.add_done_callback(_alone.discard)


async def _posted(
    ctx: Context, run: Run, task: "asyncio.Task[Answer | RetryLater]", asked: PreparedCall, bill: Actual | None
) -> None:
    try:
        heard = await task
        if bill is None:
            answered = isinstance(heard, Answer) and heard.refusal is None
            bill = await asked.metered_call.bill() if answered else asked.metered_call.zero_bill()
        await ctx.ledger_batcher.settle(run.project_id, bill)
    except Exception as error:
        log.error("run.not_posted", run=run.id, call=asked.call.key, error=repr(error))
