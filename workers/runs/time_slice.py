"""One time slice of a run: sends as many concurrent calls as the upstream accepts, and records each answer."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from service import fault_points
from service.billing.actions import Actual
from service.database.leases import Claim, LeaseLost
from service.database.tables import Run
from service.errors import InvalidRequest, NotFound, QuotaExceeded, RateLimited, Unavailable
from service.json_limits import VALUE_BYTES
from service.runs.pacing import ConcurrencyWindow, wait_seconds
from service.runs.plan import MAX_ANSWERS_BYTES, Answer, Call, Plan, size_bytes, unanswered
from service.runs.record import RunError
from workers.context import Context
from workers.runs.calls import PreparedCall, RetryLater, post_detached, prepare_call, send_call
from workers.runs.recording import AnswerRecorder
from workers.runs.reservations import reserve
from workers.runs.threads import in_thread

TIME_SLICE_SECONDS = 60.0
"""After this time a run makes room for others; without others it continues at once."""

MAX_UNAVAILABLE_HOURS = 24
"""A run fails when its upstream has answered nothing for this time."""

MAX_REFUSED = 10
"""A run fails when this many calls were refused and none was answered: the upstream would refuse the rest too."""

ANSWERS_TOO_LARGE = RunError(
    code="answers_too_large",
    message=f"The answers have more than {MAX_ANSWERS_BYTES >> 20} MB, each JSON value counted as {VALUE_BYTES} bytes. "
    "Ask for fewer examples or shorter answers.",
)

SHORT_WAIT_SECONDS = 5.0
"""A longer pause ends the time slice."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Every call is answered, or, with an `error`, no more calls can be made."""

    error: RunError | None = None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """More calls are left: the run continues after `seconds`. `reason` is None if it does not have to wait."""

    reason: str | None
    seconds: float


class TimeSlice:
    """One time slice of a run. Each call is a task of its own; only the task that runs `run` writes to the database."""

    def __init__(
        self,
        ctx: Context,
        claimed: Claim[Run],
        plan: Plan,
        answers: dict[str, Answer],
        open_calls: dict[str, str],
        review: Callable[[Mapping[str, Answer]], Awaitable[RunError | None]],
    ) -> None:
        self._ctx = ctx
        self._claimed = claimed
        self._run = claimed.row
        self._plan = plan
        self._answers = answers
        self._open_calls = open_calls
        self._review = review
        self._recorder = AnswerRecorder(ctx, claimed, plan)
        self._window = ConcurrencyWindow(min(self._run.concurrency, ctx.settings.run_concurrency))
        self._deferred: deque[Call] = deque()
        self._in_flight: dict[asyncio.Task[Answer | RetryLater], PreparedCall] = {}
        self._bills: dict[asyncio.Task[Answer | RetryLater], Actual] = {}
        self._outcome: Finished | Unfinished | None = None
        self._limit_reached: Finished | None = None
        self._ends_at = time.monotonic() + TIME_SLICE_SECONDS
        self._resume_at = time.monotonic()
        self._sent: set[PreparedCall] = set()
        self._answered = sum(answer.refusal is None for answer in answers.values())
        self._refused = len(answers) - self._answered
        self._answer_bytes = 0

    async def run(self) -> Finished | Unfinished:
        """Send calls and record answers until the run is finished, has to wait, or the time slice is over.

        Raises `LeaseLost` when another worker has taken the run, or a caller has cancelled it; calls in flight are then
        posted without their answers.
        """
        try:
            self._answer_bytes = await in_thread(_sum_of_sizes, self._answers.values())
            while (outcome := await self._step()) is None:
                pass
            return outcome
        except LeaseLost:
            self._detach_calls(adoptable=False)
            raise
        except asyncio.CancelledError:
            if not self._claimed.lost:
                self._cancel_calls()
            self._detach_calls(adoptable=not self._claimed.lost)
            raise
        finally:
            self._cancel_calls()

    async def _step(self) -> Finished | Unfinished | None:
        resumed = self._resume_at <= time.monotonic()
        nothing_to_send = resumed and self._continues() and not await self._send_calls()
        pause_seconds = max(0.0, self._resume_at - time.monotonic())
        if self._in_flight:
            await self._await_answers(timeout_seconds=pause_seconds if pause_seconds and self._continues() else None)
            return None
        if (outcome := self._outcome or self._limit_reached) is not None:
            return outcome
        if not self._continues():
            return Unfinished(None, pause_seconds)
        if pause_seconds:
            await asyncio.sleep(pause_seconds)
            return None
        return Finished() if nothing_to_send else None

    def _continues(self) -> bool:
        return self._outcome is None and time.monotonic() < self._ends_at and not self._ctx.stopping.is_set()

    async def _send_calls(self) -> bool:
        """Fill the concurrency window with deferred and new calls. Returns whether there were any."""
        calls = await in_thread(self._next_calls)
        prepared = await self._prepare(calls)
        if prepared:
            await self._reserve_and_send(prepared)
        return bool(calls)

    def _next_calls(self) -> Sequence[Call]:
        calls: list[Call] = []
        new = unanswered(self._plan, self._answers)
        while len(self._in_flight) + len(calls) < self._window.size:
            call = self._deferred.popleft() if self._deferred else next(new, None)
            if call is None:
                break
            calls.append(call)
        return calls

    async def _prepare(self, calls: Sequence[Call]) -> Sequence[PreparedCall]:
        """The calls up to the first one that cannot be made now; that one and the rest are deferred."""
        prepared: list[PreparedCall] = []
        for place, call in enumerate(calls):
            try:
                subject = self._open_calls.get(call.key)
                prepared.append(await prepare_call(self._ctx, self._run, call, subject=subject))
                continue
            except (InvalidRequest, NotFound, QuotaExceeded) as error:
                self._outcome = Finished(RunError(code=error.code, message=error.message, param=error.param))
            except (RateLimited, Unavailable) as error:
                self._pause(error.message, error.retry_after_seconds)
            self._deferred.extend(calls[place:])
            break
        return prepared

    async def _reserve_and_send(self, prepared: Sequence[PreparedCall]) -> None:
        reserved = await reserve(self._ctx, self._claimed, prepared)
        fault_points.point("run.reserved")
        for each in prepared:
            if each not in reserved.calls:
                self._open_calls.pop(each.call.key, None)
                self._deferred.append(each.call)
        if reserved.error is not None:
            self._limit_reached = Finished(reserved.error)
        for each in reserved.calls:
            self._open_calls[each.call.key] = each.metered_call.subject
            call = send_call(self._ctx, self._run, each, sending=self._sent.add)
            self._in_flight[asyncio.create_task(call)] = each

    async def _await_answers(self, *, timeout_seconds: float | None) -> None:
        done, _ = await asyncio.wait(self._in_flight, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        if done:
            fault_points.point("run.answered")
            await self._record(done)

    async def _record(self, done: set["asyncio.Task[Answer | RetryLater]"]) -> None:
        """Bill what the tasks have returned, give the answers to the plan and record both."""
        answers: list[tuple[PreparedCall, Answer]] = []
        for task in done:
            prepared, reply = self._in_flight[task], task.result()
            metered_call = prepared.metered_call
            match reply:
                case Answer(refusal=None):
                    self._bills[task] = bill = await metered_call.bill()
                    answers.append((prepared, _with_cost(reply, bill)))
                    self._answered += 1
                    self._window.answered()
                case Answer():
                    self._bills[task] = metered_call.unanswered_bill()
                    answers.append((prepared, reply))
                    self._refused += 1
                case RetryLater(reason, seconds):
                    self._bills[task] = metered_call.unanswered_bill()
                    self._window.limited()
                    self._deferred.append(prepared.call)
                    self._pause(reason, seconds)
                case never:
                    assert_never(never)
        new = {prepared.call.key: answer for prepared, answer in answers}
        error = await self._review(new)
        if error is None:
            self._answers.update(new)
            await in_thread(self._take, new)
        await self._recorder.record([self._bills[task] for task in done], answers)
        fault_points.point("run.recorded")
        self._limit_reached = None
        for task in done:
            prepared = self._in_flight.pop(task)
            self._sent.discard(prepared)
            self._open_calls.pop(prepared.call.key, None)
        self._answer_bytes += await in_thread(_sum_of_sizes, new.values())
        if self._answer_bytes > MAX_ANSWERS_BYTES:
            error = error or ANSWERS_TOO_LARGE
        if error is not None:
            self._outcome = Finished(error)
        elif not self._answered and self._refused >= MAX_REFUSED:
            last = answers[-1][1].refusal if answers else None
            self._outcome = Finished(RunError(code="upstream_refused", message=f"Every call is refused: {last}"))

    def _take(self, answers: Mapping[str, Answer]) -> None:
        for key, answer in answers.items():
            self._plan.take(key, answer)

    def _pause(self, reason: str, retry_after_seconds: float | None) -> None:
        """Pause the calls, end the time slice for a long pause, or fail the run after a day without an answer."""
        since_answer_seconds = self._recorder.seconds_since_answer
        if since_answer_seconds > MAX_UNAVAILABLE_HOURS * 3600:
            message = f"Nothing was answered for {MAX_UNAVAILABLE_HOURS} hours: {reason}"
            self._outcome = Finished(RunError(code="upstream_unavailable", message=message))
            return
        seconds = wait_seconds(since_answer_seconds=since_answer_seconds, retry_after_seconds=retry_after_seconds)
        if seconds > SHORT_WAIT_SECONDS:
            self._outcome = self._outcome or Unfinished(reason, seconds)
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def _cancel_calls(self) -> None:
        for task in self._in_flight:
            task.cancel()

    def _detach_calls(self, *, adoptable: bool) -> None:
        """Post the calls alone once they are answered. Those that still wait for a place are not sent."""
        for task, prepared in self._in_flight.items():
            bill, is_sent = self._bills.get(task), prepared in self._sent
            if not is_sent:
                task.cancel()
                bill = prepared.metered_call.unanswered_bill()
            post_detached(self._ctx, self._run, task, prepared, bill, adoptable=adoptable or not is_sent)
        self._in_flight = {}


def _sum_of_sizes(answers: Iterable[Answer]) -> int:
    return sum(map(size_bytes, answers))


def _with_cost(answer: Answer, bill: Actual) -> Answer:
    return replace(
        answer,
        input_tokens=bill.input_tokens or 0,
        output_tokens=bill.output_tokens or 0,
        cost_micros=bill.micros,
    )
