"""The calls of a run: routed, priced, sent and billed like a caller's inference, and adopted after a crash.

A call that the upstream cannot answer now (it is rate-limited, unavailable or out of quota) is repeated later. A
call that the upstream refuses as invalid is not repeated: the refusal is recorded as its answer.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import httpx2
import structlog
from sqlalchemy import select

from service.billing.actions import Actual
from service.billing.ledger_batcher import Call as PricedCall
from service.database.tables import Run
from service.errors import InvalidRequest, QuotaExceeded, RateLimited
from service.identity.callers import Caller
from service.inference.calls import ANSWER_BYTES, refusal_of
from service.inference.metering import MeteredCall
from service.inference.requests import InferenceRequest, inference_request_of
from service.inference.routing import Router
from service.limits.rates import estimated_tokens
from service.off_loop import off_loop
from service.project_memory import MemoryReservation
from service.runs.messages import parse_message, storable
from service.runs.pacing import MAX_WAIT_SECONDS
from service.runs.plan import Answer, Call
from service.states import UNFINISHED_RUNS
from service.upstreams.port import AnswerRefused
from workers.context import Context
from workers.runs.threads import in_thread

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class PreparedCall:
    """A call with its route and its price. An `adopted` one was in flight when an earlier worker stopped, and has a
    reservation already."""

    call: Call
    request: InferenceRequest
    metered_call: MeteredCall
    priced: PricedCall
    adopted: bool


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The upstream cannot answer now. `seconds` is the pause that it asks for, None if it names none."""

    reason: str
    seconds: float | None


async def prepare_call(ctx: Context, run: Run, call: Call, *, subject: str | None) -> PreparedCall:
    """Route and price a call, and count it against the project's rate limits unless it is adopted.

    `subject` is that of an adopted call's reservation. Raises as `inference_request_of`, and `RateLimited`.
    """
    request = await inference_request_of(
        {**call.body, "model": call.model},
        path=call.path,
        router=Router(db=ctx.db, catalogue=ctx.catalogue, accounts=ctx.accounts),
        project_id=run.project_id,
        size_bytes=call.size_bytes,
    )
    if subject is None:
        await ctx.rates.admit_inference(
            {},
            Caller(key_id=run.api_key_id, project_id=run.project_id),
            model=request.route.rate_limited_model,
            tokens=await off_loop(call.size_bytes, estimated_tokens, request.body),
        )
    metered_call, priced = await ctx.meter.prepare(request, api_key_id=run.api_key_id, subject=subject)
    priced = replace(priced, run_id=run.id, call_key=call.key)
    return PreparedCall(call, request, metered_call, priced, adopted=subject is not None)


async def send_call(
    ctx: Context, run: Run, prepared: PreparedCall, *, sending: Callable[[PreparedCall], None]
) -> Answer | RetryLater:
    """Send a call, with its key as the idempotency key, and observe the answer for its bill.

    It waits for one of the places that projects share; `sending` is called when it has one.
    """
    try:
        async with asyncio.timeout(ctx.settings.inference_timeout_seconds), ctx.run_calls.occupy(run.project_id):
            sending(prepared)
            with ctx.accounts.memory.reservation(run.project_id) as memory:
                return await _answer(ctx, run.id, prepared, memory)
    except TimeoutError:
        return _unreachable(run.id, "TimeoutError")


async def _answer(ctx: Context, run_id: str, prepared: PreparedCall, memory: MemoryReservation) -> Answer | RetryLater:
    request = prepared.request
    try:
        memory.prepay(ANSWER_BYTES)
        answer = await request.route.upstream.complete(
            request.path,
            request.body,
            memory=memory,
            size_bytes=request.size_bytes,
            idempotency_key=f"{run_id}/{prepared.call.key}",
        )
    except AnswerRefused as reason:
        prepared.metered_call.cut_off()
        log.warning("run.answer_refused", run=run_id, reason=str(reason))
        return Answer(refusal=f"The upstream's answer is refused: {reason}.")
    except RateLimited as full:
        return RetryLater(full.message, full.retry_after_seconds)
    except httpx2.HTTPError as error:
        return _unreachable(run_id, type(error).__name__)
    if 200 <= answer.status < 300:
        prepared.metered_call.observe(answer.body, memory)
        message, finish_reason = await in_thread(parse_message, answer.body)
        return Answer(message=message, finish_reason=finish_reason)
    refused = refusal_of(answer, request)
    message = storable(refused.message)
    match refused:
        case InvalidRequest():
            return Answer(refusal=message)
        case QuotaExceeded():
            return RetryLater(message, MAX_WAIT_SECONDS)
        case _:
            return RetryLater(message, answer.retry_after_seconds)


def _unreachable(run_id: str, error: str) -> RetryLater:
    log.warning("run.upstream_unreachable", run=run_id, error=error)
    return RetryLater("The upstream that serves this model does not answer.", None)


def post_detached(
    ctx: Context,
    run: Run,
    task: "asyncio.Task[Answer | RetryLater]",
    prepared: PreparedCall,
    bill: Actual | None,
    *,
    adoptable: bool,
) -> None:
    """Post the cost of a call that is no longer this worker's, once it has ended; its answer is not recorded.

    `bill` is the call's cost if it was answered already. A call that is cancelled, because the process stops, or that
    fails is posted as an estimate: the upstream may have answered it. An `adoptable` call is posted only if its run has
    ended, as by a cancel; otherwise the run's next worker adopts the call with its reservation.
    """

    async def actual() -> Actual | None:
        if adoptable and await _is_unfinished(ctx, run):
            return None
        if bill is not None:
            return bill
        if task.cancelled() or task.exception() is not None:
            return await prepared.metered_call.bill()
        reply = task.result()
        answered = isinstance(reply, Answer) and reply.refusal is None
        return await prepared.metered_call.bill() if answered else prepared.metered_call.unanswered_bill()

    ctx.detached_calls.add(run.project_id, task, actual)


async def _is_unfinished(ctx: Context, run: Run) -> bool:
    async with ctx.db.worker() as session:
        return await session.scalar(select(Run.status).where(Run.id == run.id)) in UNFINISHED_RUNS
