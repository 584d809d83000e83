"""Inference in the ledger: what a call may cost is reserved before it is sent, what it came to is posted after it.

What the upstream reports is posted. Where it reports nothing (a caller that hung up, a stream that broke, an upstream
that never tells), what was sent and received is counted here and posted as an estimate. A call that the upstream
refused is voided.
"""

import asyncio
import datetime as dt
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import structlog
from prometheus_client import Counter

from service.billing.actions import Actual, Reservation
from service.billing.balances import month_of, standing
from service.billing.ledger_batcher import Call, LedgerBatcher
from service.billing.price_list import InferencePrice, inference_price_on
from service.billing.prices import inference_cost_micros
from service.billing.queries import inference_price_overrides
from service.catalogue.tokens import ENCODINGS, reference
from service.database.engine import Database
from service.errors import QuotaExceeded
from service.ids import new_id
from service.inference.bounds import Usage, answer_texts, input_texts, usage_of
from service.inference.requests import InferenceRequest

log = structlog.get_logger()

TOKENS = Counter("tunegate_inference_tokens_total", "Tokens of inference.", ["project", "direction"])
CALLS = Counter("tunegate_inference_calls_total", "Calls of inference by how their cost was known.", ["basis"])

PRICES_REMEMBERED_SECONDS = 0.8
"""A price that is set holds within a second, as a key that is revoked."""

INLINE_CHARS = 20_000
"""Longer texts are counted in a thread, which lets other requests go on."""

COUNTED_CHARS = 4_000_000
"""No model reads more. A longer text is refused upstream, so it reserves a token a byte instead of being counted."""


class Meter:
    """Opens a `MeteredCall` for each call. One per process."""

    def __init__(self, db: Database, ledger_batcher: LedgerBatcher) -> None:
        self._db = db
        self._ledger_batcher = ledger_batcher
        self._overrides: Sequence[InferencePrice] = ()
        self._read_at = -math.inf
        self._reading = asyncio.Lock()
        self._loaded: set[str] = set()

    async def open(self, request: InferenceRequest, *, api_key_id: str) -> "MeteredCall":
        """Reserve what a call may cost, with the longest answer that it allows. Raises `QuotaExceeded` over a limit."""
        metered_call, call = await self.draft(request, api_key_id=api_key_id)
        if not await self._ledger_batcher.reserve(request.project_id, call):
            raise await self.refusal(request.project_id, call.reservation.amount_micros)
        return metered_call

    async def draft(
        self, request: InferenceRequest, *, api_key_id: str, subject: str | None = None
    ) -> tuple["MeteredCall", Call]:
        """Price a call without reserving: returns the metered call, and the reservation that the caller has to make.

        Unbilled use costs nothing. Pass `subject` when the ledger already holds a reservation under it.
        """
        base = request.base
        encoding = base.encoding if base is not None else ENCODINGS[0]
        texts, others = input_texts(request.body, path=request.path)
        input_tokens = others + await self.count(texts, encoding)
        metered_call = MeteredCall(
            self,
            self._ledger_batcher,
            subject=subject or new_id("call-"),
            project_id=request.project_id,
            price=await self.price_of(request),
            encoding=encoding,
            input_tokens=input_tokens,
        )
        reservation = Reservation(
            subject=metered_call.subject,
            line_item=f"inference {request.model}",
            amount_micros=metered_call.cost(Usage(input_tokens, request.output_tokens)),
            api_key_id=api_key_id,
            model=request.model,
        )
        return metered_call, Call(
            reservation=reservation, input_tokens=input_tokens, output_tokens=request.output_tokens
        )

    async def price_of(self, request: InferenceRequest) -> InferencePrice | None:
        """What asking costs today; None for nothing."""
        if request.base is None or not request.billed:
            return None
        today = dt.datetime.now(dt.UTC).date()
        return inference_price_on(request.base, await self._prices(), today, tuned=request.tuned)

    async def count(self, texts: Sequence[str], encoding: str) -> int:
        """The tokens of texts; a bound where they are too long for any model."""
        chars = sum(map(len, texts))
        if chars > COUNTED_CHARS:
            return sum(len(text.encode()) for text in texts)
        if chars <= INLINE_CHARS and encoding in self._loaded:
            return _count(texts, encoding)
        tokens = await asyncio.to_thread(_count, texts, encoding)
        self._loaded.add(encoding)
        return tokens

    async def _prices(self) -> Sequence[InferencePrice]:
        if not self._fresh():
            async with self._reading:
                if not self._fresh():
                    started = time.monotonic()
                    async with self._db.admin() as session:
                        self._overrides = await inference_price_overrides(session)
                    self._read_at = started
        return self._overrides

    def _fresh(self) -> bool:
        return time.monotonic() - self._read_at < PRICES_REMEMBERED_SECONDS

    async def refusal(self, project_id: str, amount_micros: int) -> QuotaExceeded:
        """The refusal of a call for which a limit leaves no room."""
        async with self._db.project(project_id) as session:
            left = (await standing(session, project_id, month_of(dt.datetime.now(dt.UTC)))).remaining or 0
        return QuotaExceeded(
            f"This call may cost up to ${amount_micros / 1e6:.6f}, and the monthly budget has ${left / 1e6:.6f} left. "
            "Give a smaller max_completion_tokens (max_tokens), or ask for a higher limit."
        )


class MeteredCall:
    """What one call owes. It is closed once, by `post` or by `void`."""

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
    ) -> None:
        self._meter = meter
        self._ledger_batcher = ledger_batcher
        self.subject = subject
        self._project_id = project_id
        self._price = price
        self._encoding = encoding
        self._input_tokens = input_tokens
        self._usage: Usage | None = None
        self._said: defaultdict[int, list[str]] = defaultdict(list)

    def observe(self, body: dict[str, Any]) -> None:
        """Take in an answer, or a chunk of one."""
        self._usage = usage_of(body) or self._usage
        if self._usage is None:
            for choice, text in answer_texts(body):
                self._said[choice].append(text)

    async def bill(self) -> Actual:
        """What the upstream reported, else an estimate from what it has said."""
        usage, basis = self._usage, "usage"
        if usage is None:
            said = ["".join(texts) for texts in self._said.values()]
            usage, basis = Usage(self._input_tokens, await self._meter.count(said, self._encoding)), "estimate"
        TOKENS.labels(self._project_id, "input").inc(usage.input_tokens)
        TOKENS.labels(self._project_id, "output").inc(usage.output_tokens)
        CALLS.labels(basis).inc()
        return Actual(
            subject=self.subject,
            micros=self.cost(usage),
            quantity=usage.input_tokens + usage.output_tokens,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            basis="usage" if basis == "usage" else "estimate",
        )

    async def post(self) -> None:
        """Post what it came to."""
        await self._ledger_batcher.settle(self._project_id, await self.bill())

    def nothing(self) -> Actual:
        """What a call comes to that nobody answered."""
        CALLS.labels("void").inc()
        return Actual(subject=self.subject, micros=0, quantity=None)

    async def void(self) -> None:
        """Give the reservation back: nothing was answered."""
        await self._ledger_batcher.settle(self._project_id, self.nothing())

    def cost(self, usage: Usage) -> int:
        """Micro-dollars, by the price of the day on which the call came."""
        if self._price is None:
            return 0
        return inference_cost_micros(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            input_micros_per_million=self._price.input_micros_per_million,
            output_micros_per_million=self._price.output_micros_per_million,
        )


def _count(texts: Sequence[str], encoding: str) -> int:
    counter = reference(encoding)
    return sum(counter.count(text) for text in texts)
