"""What an exception of a call to the upstream means. Pure: the safety of creating exactly once rests on this table.

| what happened | outcome |
|---|---|
| 400, 401, 403, 404, 422, 429 with an error body | refused: nothing was created |
| the connection never opened (refused, no route, no name, TLS, no free connection) | not sent |
| anything else (5xx, 408, 409, cut answers, time-outs after connecting, nonsense) | unknown: it may exist |
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar

import httpx2
import openai

from service.upstreams.port import CreateOutcome, NotSent, RefusalKind, Refused, Unknown, UpstreamError

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")

NEVER_OPENED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
MAX_RETRY_AFTER_SECONDS = 3600.0
OUT_OF_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "quotaExceeded"})


class Watched(Protocol):
    """What a reading method belongs to: told how each call ended, and able to take its credential out of a text."""

    def note(self, error: RefusalKind | Literal["away"] | None) -> None:
        """A call has ended, well when `error` is None."""
        ...

    def clean(self, value: Answer) -> Answer:
        """An answer without our credential, should the upstream repeat it."""
        ...


Self = TypeVar("Self", bound=Watched)


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


def reading(
    call: Callable[Concatenate[Self, Asked], Coroutine[Any, Any, Answer]],
) -> Callable[Concatenate[Self, Asked], Coroutine[Any, Any, Answer]]:
    """Make a reading method raise `UpstreamError` and nothing else, also for an answer that makes no sense.

    The cause is left out of it: the SDK's own errors quote what the upstream says, which can be our credential.
    """

    @functools.wraps(call)
    async def read(self: Self, /, *args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        try:
            answer = await call(self, *args, **kwargs)
        except asyncio.CancelledError:
            self.note("away")
            raise
        except Exception as error:
            told = error if isinstance(error, UpstreamError) else read_error(error)
            self.note(told.kind)
            raise told from None
        self.note(None)
        return self.clean(answer)

    return read


def kind_of_status(status_code: int) -> RefusalKind | Literal["away"] | None:
    """What a status says about the account, for calls whose answers are passed on: None when it is well."""
    match status_code:
        case 401 | 403:
            return "auth"
        case 429:
            return "rate_limit"
        case status if status >= 500:
            return "away"
        case _:
            return None


def retry_after(headers: Mapping[str, Any]) -> float | None:
    """Seconds of a `Retry-After` header, within an hour; dates and nonsense count as none."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS) if seconds == seconds else None


def _kind(error: openai.APIStatusError) -> RefusalKind | None:
    match error.status_code:
        case 400 | 403 | 429 if OUT_OF_QUOTA & {error.code, error.type}:
            return "quota"
        case 401 | 403:
            return "auth"
        case 404:
            return "not_found"
        case 429:
            return "rate_limit"
        case 400 | 422:
            return "invalid"
        case _:
            return None
