"""Holding callers to their rate limits: every request of a project, and its inference by requests and tokens."""

import asyncio
import math
import time
from typing import Any

from service.database.engine import Database
from service.errors import QuotaExceeded, RateLimited
from service.http.middleware import RESPONSE_HEADERS
from service.http.rate_limits import RateLimiter, Verdict
from service.identity.callers import Caller
from service.limits.queries import Rates, rates_of

KNOWN_SECONDS = 0.8
"""A changed limit holds within a second."""

MAX_KNOWN = 10_000
BYTES_PER_TOKEN = 4
NOT_TEXT = ("image_url", "input_audio", "file")
ASKED = ("messages", "prompt", "tools", "functions")


class RateKeeper:
    """Asks the limiter with each project's own limits. One per process."""

    def __init__(self, db: Database, limiter: RateLimiter, *, requests_per_minute: int) -> None:
        self._db = db
        self._limiter = limiter
        self._default = requests_per_minute
        self._known: dict[str, tuple[float, asyncio.Task[Rates]]] = {}

    async def admit(self, scope: Any, who: Caller) -> None:
        """Count a request against its key and its project, and leave the headers of its answer in `scope`.

        Raises `RateLimited`.
        """
        rates = await self._rates(who.project_id)
        if rates.key_requests is not None:
            verdict = await self._limiter.take(f"key:{who.key_id}", per_minute=rates.key_requests)
            _hold(scope, verdict, "requests", f"This key may send {rates.key_requests:,} requests a minute")
        most = rates.requests(self._default)
        verdict = await self._limiter.take(f"project:{who.project_id}", per_minute=most)
        _hold(scope, verdict, "requests", f"This project may send {most:,} requests a minute")

    async def admit_question(self, scope: Any, who: Caller, *, model: str, tokens: int) -> None:
        """Count inference with a base model by its requests, if they are limited, and by its estimated tokens.

        Raises `RateLimited`, and `QuotaExceeded` for more tokens than any minute may have.
        """
        rates = await self._rates(who.project_id)
        about = f"{who.project_id}:{model}"
        requests, most = rates.model_requests(model), rates.tokens(model)
        if tokens > most:
            raise QuotaExceeded(
                f"This request is estimated at {tokens:,} tokens, and {most:,} a minute are allowed for {model}. Make "
                "it shorter, lower its max_tokens, or ask the platform team for a higher limit.",
                code="rate_limit_exceeded",
            )
        if requests is not None:
            verdict = await self._limiter.take(f"requests:{about}", per_minute=requests)
            _hold(scope, verdict, "requests", f"This project may ask {model} {requests:,} times a minute")
        verdict = await self._limiter.take(f"tokens:{about}", per_minute=most, cost=max(1, tokens))
        _hold(scope, verdict, "tokens", f"This project may use {most:,} tokens a minute with {model}")

    async def warm(self) -> None:
        """Connect to Redis, if it is there."""
        await self._limiter.warm()

    async def close(self) -> None:
        """Disconnect."""
        await self._limiter.close()

    async def _rates(self, project_id: str) -> Rates:
        known = self._known.get(project_id)
        if known is None or known[0] <= time.monotonic() or known[1].cancelled() or _failed(known[1]):
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            known = (time.monotonic() + KNOWN_SECONDS, asyncio.create_task(self._read(project_id)))
            self._known[project_id] = known
        return await asyncio.shield(known[1])

    async def _read(self, project_id: str) -> Rates:
        async with self._db.project(project_id) as session:
            return await rates_of(session, project_id)


def estimated_tokens(body: dict[str, Any]) -> int:
    """What a question may use: its text by four bytes a token, and what its answers may have at most.

    An estimate for the limit only, as OpenAI's own limiter makes it; what is paid is what the upstream counts.
    """
    text_bytes = sum(_text_bytes(body.get(name)) for name in ASKED)
    answers = body.get("n") if isinstance(body.get("n"), int) else 1
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    longest = limit if isinstance(limit, int) and limit > 0 else 0
    return math.ceil(text_bytes / BYTES_PER_TOKEN) + longest * max(1, min(int(answers or 1), 128))


def _text_bytes(value: Any) -> int:
    match value:
        case str():
            return len(value.encode("utf-8", "replace"))
        case int():
            return BYTES_PER_TOKEN  # a prompt may be tokens
        case list():
            return sum(_text_bytes(each) for each in value)
        case dict():
            return sum(_text_bytes(each) for name, each in value.items() if name not in NOT_TEXT)
        case _:
            return 0


def _hold(scope: Any, verdict: Verdict | None, what: str, rule: str) -> None:
    if verdict is None:
        return
    shown = dict(scope.get(RESPONSE_HEADERS, ()))
    remaining = f"x-ratelimit-remaining-{what}".encode()
    if remaining not in shown or verdict.remaining < int(shown[remaining]) or verdict.retry_after_seconds is not None:
        scope[RESPONSE_HEADERS] = list((shown | dict(verdict.headers(what))).items())
    if verdict.retry_after_seconds is not None:
        raise RateLimited(
            f"Rate limit reached. {rule}. Try again in {verdict.retry_after_seconds} s.",
            retry_after_seconds=verdict.retry_after_seconds,
        )


def _failed(task: "asyncio.Task[Rates]") -> bool:
    return task.done() and task.exception() is not None
