"""Metering of inference: a call's highest possible cost is reserved before it is sent, its actual cost posted after.

The usage that the upstream reports is posted. Without a report (the caller disconnected, the stream broke, or the
upstream never reports usage), the tokens that were sent and received are counted here and posted as an estimate. A call
that the upstream refused is voided.
"""

import asyncio
import datetime as dt
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from io import StringIO
from typing import Any, Literal

import structlog
from prometheus_client import Counter

from service.billing.actions import Actual, Reservation
from service.billing.balances import month_balance, month_of
from service.billing.ledger_batcher import Call, LedgerBatcher
from service.billing.price_list import InferencePrice, inference_price_on
from service.billing.prices import dollar_text, inference_cost_micros
from service.billing.queries import inference_price_overrides
from service.catalogue.counting import counting_of
from service.database.engine import Database
from service.errors import QuotaExceeded, RateLimited
from service.ids import new_id
from service.inference.bounds import Usage, answer_texts, input_texts, template_tokens, usage_of
from service.inference.requests import InferenceRequest
from service.inference.routing import Route
from service.inference.token_counts import TokenCounts, token_bound
from service.off_loop import off_loop
from service.project_memory import MemoryReservation

log = structlog.get_logger()

TOKENS = Counter("tunegate_inference_tokens_total", "Tokens of inference calls.", ["direction"])
CALLS = Counter(
    "tunegate_inference_calls_total", "Inference calls by the basis of their cost: usage, estimate or void.", ["basis"]
)

PRICES_CACHED_SECONDS = 0.8
"""A changed price takes effect within a second, as a revoked key does."""

CHOICE_BYTES = 256
"""The memory of an empty text of a choice."""


class Meter:
    """Prices calls and reserves their cost. One per process."""

    def __init__(self, db: Database, ledger_batcher: LedgerBatcher, counts: TokenCounts) -> None:
        self._db = db
        self._ledger_batcher = ledger_batcher
        self._counts = counts
        self._price_overrides: Sequence[InferencePrice] = ()
        self._prices_read_at = -math.inf
        self._price_lock = asyncio.Lock()
        self._unresolved: set[MeteredCall] = set()

    async def open(self, request: InferenceRequest, *, api_key_id: str) -> "MeteredCall":
        """Reserve the cost of a call with the longest answer that it allows.

        Raises `QuotaExceeded` when a limit leaves no room.
        """
        metered_call, call = await self.prepare(request, api_key_id=api_key_id)
        if not await self._ledger_batcher.reserve(request.project_id, call):
            raise await self.refusal(request.project_id, call.reservation.amount_micros)
        self._unresolved.add(metered_call)
        return metered_call

    async def close(self) -> None:
        """Post the calls that `open` has returned and nothing has resolved, because the process stops.

        Each is posted as an estimate of what was sent and received. Close it before the ledger batcher.
        """
        await asyncio.gather(*(call.post() for call in list(self._unresolved)), return_exceptions=True)
        await self._counts.close()

    async def prepare(
        self, request: InferenceRequest, *, api_key_id: str, subject: str | None = None
    ) -> tuple["MeteredCall", Call]:
        """Price a call without reserving: returns the metered call, and the reservation that the caller has to make.

        Short texts reserve a token a byte where counting is not at hand (`TokenCounts.uncounted_bytes`). Unbilled use
        costs nothing. Pass `subject` when the ledger already holds a reservation under it.
        """
        base = request.route.base
        encoding = counting_of(base)
        texts, other_tokens = await off_loop(request.size_bytes, input_texts, request.body, path=request.path)
        other_tokens += template_tokens(request.body, base)
        is_counted = request.size_bytes >= self._counts.uncounted_bytes
        input_tokens = other_tokens + (
            await self.count(texts, encoding, project_id=request.project_id) if is_counted else token_bound(texts)
        )
        metered_call = MeteredCall(
            self,
            self._ledger_batcher,
            subject=subject or new_id("call-"),
            project_id=request.project_id,
            price=await self.price_of(request.route),
            encoding=encoding,
            input_tokens=input_tokens,
            output_tokens=request.output_tokens,
            uncounted=() if is_counted else texts,
        )
        reservation = Reservation(
            subject=metered_call.subject,
            line_item=f"inference {request.route.model}",
            amount_micros=metered_call.cost(Usage(input_tokens, request.output_tokens)),
            api_key_id=api_key_id,
            model=request.route.model,
        )
        return metered_call, Call(
            reservation=reservation, input_tokens=input_tokens, output_tokens=request.output_tokens
        )

    def forget(self, metered_call: "MeteredCall") -> None:
        """Note that a call is resolved."""
        self._unresolved.discard(metered_call)

    async def price_of(self, route: Route) -> InferencePrice | None:
        """Today's price of calls on a route; None where calls are free of charge."""
        if route.base is None or not route.billed:
            return None
        today = dt.datetime.now(dt.UTC).date()
        return inference_price_on(route.base, await self._prices(), today, tuned=route.tuned)

    async def count(self, texts: Sequence[str], encoding: str, *, project_id: str) -> int:
        """The number of tokens of a project's texts; an upper bound where they are too long for any model."""
        return await self._counts.count(texts, encoding, project_id=project_id)

    async def _prices(self) -> Sequence[InferencePrice]:
        if not self._prices_are_fresh():
            async with self._price_lock:
                if not self._prices_are_fresh():
                    started = time.monotonic()
                    async with self._db.admin() as session:
                        self._price_overrides = await inference_price_overrides(session)
                    self._prices_read_at = started
        return self._price_overrides

    def _prices_are_fresh(self) -> bool:
        return time.monotonic() - self._prices_read_at < PRICES_CACHED_SECONDS

    async def refusal(self, project_id: str, amount_micros: int) -> QuotaExceeded:
        """The error for a call whose reservation of `amount_micros` exceeds what the monthly budget has left."""
        async with self._db.project(project_id) as session:
            left = (await month_balance(session, project_id, month_of(dt.datetime.now(dt.UTC)))).remaining or 0
        return QuotaExceeded(
            f"This call may cost up to {dollar_text(amount_micros, decimals=6)}, and the monthly budget has "
            f"{dollar_text(left, decimals=6)} left. "
            "Give a smaller max_completion_tokens (max_tokens), or ask for a higher limit."
        )


class MeteredCall:
    """One call and its cost. It is resolved once, by `post` or by `void`."""

    def __init__(
        self,
        meter: Meter,
        ledger_batcher: LedgerBatcher,
        *,
        subject: str,
        project_id: str,
        price: InferencePrice | None,
        encoding: str,
        input_tokens: int,
        output_tokens: int,
        uncounted: Sequence[str] = (),
    ) -> None:
        self._meter = meter
        self._ledger_batcher = ledger_batcher
        self.subject = subject
        self._project_id = project_id
        self._price = price
        self._encoding = encoding
        self._input_tokens = input_tokens
        self._longest = Usage(input_tokens, output_tokens)
        self._uncounted = uncounted
        self._cut_off = False
        self._resolved = False
        self._usage: Usage | None = None
        self._texts_by_choice: defaultdict[int, StringIO] = defaultdict(StringIO)
        self._bytes_not_counted = 0

    def observe(self, body: dict[str, Any], memory: MemoryReservation) -> None:
        """Note the usage, or else the texts, of an answer or a chunk of one.

        Texts that the project's memory has no room for are not stored, and count a token a byte.
        """
        self._usage = usage_of(body) or self._usage
        if self._usage is None:
            for choice, text in answer_texts(body):
                try:
                    memory.add(len(text) + CHOICE_BYTES * (choice not in self._texts_by_choice))
                except RateLimited:
                    self._bytes_not_counted += len(text.encode())
                else:
                    self._texts_by_choice[choice].write(text)

    def cut_off(self) -> None:
        """Note that an answer was not read to its end: its tokens are unknown, so the longest is billed."""
        self._cut_off = True

    async def bill(self) -> Actual:
        """The actual cost, from the usage that the upstream reported, else an estimate from the texts of the answer."""
        usage = self._usage
        if usage is None:
            answers = [texts.getvalue() for texts in self._texts_by_choice.values()]
            output_tokens = await self._count(answers) + self._bytes_not_counted
            await self._count_input()
            return self._bill_of(Usage(self._input_tokens, output_tokens), "estimate")
        return self._bill_of(usage, "usage")

    async def _count_input(self) -> None:
        """Replace the bound of texts that were not counted by their tokens."""
        if self._uncounted:
            texts, self._uncounted = self._uncounted, ()
            self._input_tokens += await self._count(texts) - token_bound(texts)

    async def _count(self, answers: Sequence[str]) -> int:
        return await self._meter.count(answers, self._encoding, project_id=self._project_id)

    async def post(self) -> None:
        """Post the actual cost, unless the call is resolved already."""
        if not self._resolved:
            await self._resolve(await self.bill())

    def unanswered_bill(self) -> Actual:
        """The cost of a call without an answer: none, unless its answer was cut off."""
        if self._cut_off:
            return self._bill_of(self._longest, "estimate")
        CALLS.labels("void").inc()
        return Actual(subject=self.subject, micros=0, quantity=None)

    async def void(self) -> None:
        """Release the reservation of a call without an answer, unless the call is resolved already."""
        if not self._resolved:
            await self._resolve(self.unanswered_bill())

    async def _resolve(self, actual: Actual) -> None:
        if self._resolved:  # meanwhile, because the process stops
            return
        self._resolved = True
        self._meter.forget(self)
        await self._ledger_batcher.settle(self._project_id, actual)

    def _bill_of(self, usage: Usage, basis: Literal["usage", "estimate"]) -> Actual:
        TOKENS.labels("input").inc(usage.input_tokens)
        TOKENS.labels("output").inc(usage.output_tokens)
        CALLS.labels(basis).inc()
        return Actual(
            subject=self.subject,
            micros=self.cost(usage),
            quantity=usage.input_tokens + usage.output_tokens,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            basis=basis,
        )

    def cost(self, usage: Usage) -> int:
        """The cost of a usage in micro-dollars, at the price of the day on which the call arrived."""
        if self._price is None:
            return 0
        return inference_cost_micros(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            input_micros_per_million=self._price.input_micros_per_million,
            output_micros_per_million=self._price.output_micros_per_million,
        )
