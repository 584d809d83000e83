"""Enforces rate limits: of a project's requests, and of its inference by requests and tokens."""

import asyncio
import math
import time
from typing import Any

from service.database.engine import Database
from service.errors import QuotaExceeded, RateLimited
from service.http.middleware import RESPONSE_HEADERS
from service.http.rate_limits import RateLimiter, Verdict
from service.identity.callers import Caller
from service.limits.queries import Rates, read_rates

CACHE_SECONDS = 0.8
"""Less than the second within which a changed limit must apply."""

MAX_CACHED = 10_000
BYTES_PER_TOKEN = 4
NON_TEXT_PARTS = ("image_url", "input_audio", "file")
TEXT_FIELDS = ("messages", "prompt", "tools", "functions")


class RateLimitEnforcer:
    """Applies each project's own limits with the rate limiter. One per process."""

    def __init__(self, db: Database, limiter: RateLimiter, *, requests_per_minute: int) -> None:
        self._db = db
        self._limiter = limiter
        self._default = requests_per_minute
        self._cache: dict[str, tuple[float, asyncio.Task[Rates]]] = {}

    async def admit(self, scope: Any, who: Caller) -> None:
        """Count a request against the limits of its key and project, and add the response headers to `scope`.

        Raises `RateLimited`.
        """
        rates = await self._rates(who.project_id)
        if rates.key_requests is not None:
            verdict = await self._limiter.take(f"key:{who.key_id}", per_minute=rates.key_requests)
            _apply(scope, verdict, "requests", f"This key may send {rates.key_requests:,} requests a minute")
        limit = rates.requests(self._default)
        verdict = await self._limiter.take(f"project:{who.project_id}", per_minute=limit)
        _apply(scope, verdict, "requests", f"This project may send {limit:,} requests a minute")

    async def admit_inference(self, scope: Any, who: Caller, *, model: str, tokens: int) -> None:
        """Count inference with a base model by its requests, if they are limited, and by its estimated tokens.

        Raises `RateLimited`, and `QuotaExceeded` for more tokens than the limit of a whole minute.
        """
        rates = await self._rates(who.project_id)
        name = f"{who.project_id}:{model}"
        max_requests, max_tokens = rates.model_requests(model), rates.tokens(model)
        if tokens > max_tokens:
            raise QuotaExceeded(
                f"This request is estimated at {tokens:,} tokens, and {model} may use {max_tokens:,} a minute. Make it "
                "shorter, lower its max_tokens, or ask the platform team for a higher limit.",
                code="rate_limit_exceeded",
            )
        if max_requests is not None:
            verdict = await self._limiter.take(f"requests:{name}", per_minute=max_requests)
            _apply(scope, verdict, "requests", f"This project may send {model} {max_requests:,} requests a minute")
        verdict = await self._limiter.take(f"tokens:{name}", per_minute=max_tokens, cost=max(1, tokens))
        _apply(scope, verdict, "tokens", f"This project may use {max_tokens:,} tokens a minute with {model}")

    async def admit_webhook(self, account_id: str) -> None:
        """Count a valid webhook of an upstream account, of which a minute may have as many as a project's requests.

        Raises `RateLimited`.
        """
        verdict = await self._limiter.take(f"webhooks:{account_id}", per_minute=self._default)
        if verdict is not None and verdict.retry_after_seconds is not None:
            raise RateLimited(
                f"An upstream account may send {self._default:,} webhooks a minute (TUNEGATE_REQUESTS_PER_MINUTE). "
                f"Send it again in {verdict.retry_after_seconds} s.",
                retry_after_seconds=verdict.retry_after_seconds,
            )

    async def warm(self) -> None:
        """Connect to Redis if it is available."""
        await self._limiter.warm()

    async def close(self) -> None:
        """Disconnect."""
        await self._limiter.close()

    async def _rates(self, project_id: str) -> Rates:
        known = self._cache.get(project_id)
        if known is None or known[0] <= time.monotonic() or known[1].cancelled() or _failed(known[1]):
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            known = (time.monotonic() + CACHE_SECONDS, asyncio.create_task(self._read(project_id)))
            self._cache[project_id] = known
        return await asyncio.shield(known[1])

    async def _read(self, project_id: str) -> Rates:
        async with self._db.read(project_id) as reader:
            return await read_rates(reader, project_id)


def estimated_tokens(body: dict[str, Any]) -> int:
    """An upper estimate of a request's tokens: its text at four bytes a token, plus the maximum of its choices.

    Used for the limit only, as by OpenAI's own limiter; the caller pays what the upstream counts.
    """
    text_bytes = sum(_text_bytes(body.get(name)) for name in TEXT_FIELDS)
    choices = body.get("n") if isinstance(body.get("n"), int) else 1
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    max_tokens = limit if isinstance(limit, int) and limit > 0 else 0
    return math.ceil(text_bytes / BYTES_PER_TOKEN) + max_tokens * max(1, min(int(choices or 1), 128))


def _text_bytes(value: Any) -> int:
    match value:
        case str():
            return len(value.encode("utf-8", "replace"))
        case int():
            return BYTES_PER_TOKEN  # a prompt may consist of token ids
        case list():
            return sum(_text_bytes(each) for each in value)
        case dict():
            return sum(_text_bytes(each) for name, each in value.items() if name not in NON_TEXT_PARTS)
        case _:
            return 0


def _apply(scope: Any, verdict: Verdict | None, unit: str, rule: str) -> None:
    if verdict is None:
        return
    shown = dict(scope.get(RESPONSE_HEADERS, ()))
    remaining = f"x-ratelimit-remaining-{unit}".encode()
    if remaining not in shown or verdict.remaining < int(shown[remaining]) or verdict.retry_after_seconds is not None:
        scope[RESPONSE_HEADERS] = list((shown | dict(verdict.headers(unit))).items())
    if verdict.retry_after_seconds is not None:
        raise RateLimited(
            f"Rate limit reached. {rule}. Try again in {verdict.retry_after_seconds} s.",
            retry_after_seconds=verdict.retry_after_seconds,
        )


def _failed(task: "asyncio.Task[Rates]") -> bool:
    return task.done() and task.exception() is not None
