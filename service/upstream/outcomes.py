"""What an exception of a call to the upstream means. Pure: the safety of creating exactly once rests on this table.

| what happened | outcome |
|---|---|
| 400, 401, 403, 404, 422, 429 with an error body | refused: nothing was created |
| the connection never opened (refused, no route, no name, TLS, no free connection) | not sent |
| anything else (5xx, 408, 409, cut answers, time-outs after connecting, nonsense) | unknown: it may exist |
"""

import functools
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal, ParamSpec, TypeVar

import httpx2
import openai

from service.upstream.port import CreateOutcome, NotSent, RefusalKind, Refused, Unknown, UpstreamError

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")

NEVER_OPENED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
MAX_RETRY_AFTER_SECONDS = 3600.0
OUT_OF_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


def create_outcome(error: BaseException) -> CreateOutcome:
    """How a create ended that raised `error`."""
    if isinstance(error, openai.APIStatusError):
        refusal = refused(error)
        return refusal if refusal is not None else Unknown(f"HTTP {error.status_code}")
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) else error
    if isinstance(cause, NEVER_OPENED):
        return NotSent(type(cause).__name__)
    return Unknown(type(error).__name__)


def refused(error: openai.APIStatusError) -> Refused | None:
    """The upstream's refusal in its own words, or None where the answer is not one."""
    kind = _kind(error)
    if kind is None or not isinstance(error.body, dict) or "message" not in error.body:
        return None
    message = error.body.get("message")
    return Refused(
        kind=kind,
        code=str(error.code or error.type or "upstream_refused"),
        message=str(message)[:2000],
        param=str(error.param) if error.param else None,
        retry_after_seconds=retry_after(error.response.headers),
    )


def read_error(error: BaseException) -> UpstreamError:
    """The same for calls that only read, where "it may have happened" does not matter."""
    if isinstance(error, openai.APIStatusError):
        kind: RefusalKind | Literal["away"] = _kind(error) or "away"
        return UpstreamError(kind, f"HTTP {error.status_code}", retry_after(error.response.headers))
    return UpstreamError("away", type(error).__name__)


def reading(call: Callable[Asked, Coroutine[Any, Any, Answer]]) -> Callable[Asked, Coroutine[Any, Any, Answer]]:
    """Make a reading method raise `UpstreamError` and nothing else, also for an answer that makes no sense."""

    @functools.wraps(call)
    async def read(*args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        try:
            return await call(*args, **kwargs)
        except UpstreamError:
            raise
        except Exception as error:
            raise read_error(error) from error

    return read


def retry_after(headers: Mapping[str, Any]) -> float | None:
    """Seconds of a `Retry-After` header, within an hour; dates and nonsense count as none."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS) if seconds == seconds else None


def _kind(error: openai.APIStatusError) -> RefusalKind | None:
    match error.status_code:
        case 401 | 403:
            return "auth"
        case 404:
            return "not_found"
        case 429 if OUT_OF_QUOTA & {error.code, error.type}:
            return "quota"
        case 429:
            return "rate_limit"
        case 400 | 422:
            return "invalid"
        case _:
            return None
