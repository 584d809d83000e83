"""Maps the exceptions of upstream calls to outcomes. Pure: creating a job exactly once depends on this table.

| what happened | outcome |
|---|---|
| 400, 401, 403, 404, 422, 429 with an error body | refused: nothing was created |
| the connection never opened (refused, no route, no name, TLS, no free connection) | not sent |
| anything else (5xx, 408, 409, truncated responses, time-outs after connecting, garbage) | unknown: it may exist |
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import httpx2
import openai

from service.upstreams.adapters.statuses import kind_of_refusal, retry_after
from service.upstreams.port import CreateOutcome, ErrorKind, NotSent, RefusalKind, Refused, Unknown, UpstreamError

Args = ParamSpec("Args")
Result = TypeVar("Result")

NEVER_OPENED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Adapter(Protocol):
    """The class of a decorated method: it records how calls end and removes its credential from results."""

    def call_ended(self, error: ErrorKind | None) -> None:
        """Report that a call ended; `error` None means success."""
        ...

    def without_credential(self, value: Result) -> Result:
        """`value` with the credential replaced, in case the upstream repeats it."""
        ...


Self = TypeVar("Self", bound=Adapter)


def create_outcome(error: BaseException) -> CreateOutcome:
    """The outcome of a create that raised `error`."""
    if isinstance(error, openai.APIStatusError):
        refusal = refused(error)
        return refusal if refusal is not None else Unknown(f"HTTP {error.status_code}")
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) else error
    if isinstance(cause, NEVER_OPENED):
        return NotSent(type(cause).__name__)
    return Unknown(type(error).__name__)


def refused(error: openai.APIStatusError) -> Refused | None:
    """The upstream's refusal in its own words, or None when the response is not a refusal."""
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


def upstream_error(error: BaseException) -> UpstreamError:
    """The error of a call that may be repeated, for which an unknown outcome does not matter."""
    if isinstance(error, openai.APIStatusError):
        kind: ErrorKind = _kind(error) or "away"
        return UpstreamError(kind, f"HTTP {error.status_code}", retry_after(error.response.headers))
    return UpstreamError("away", type(error).__name__)


def raises_upstream_error(
    call: Callable[Concatenate[Self, Args], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate[Self, Args], Coroutine[Any, Any, Result]]:
    """Make a method raise `UpstreamError` and nothing else, even for a response that cannot be parsed.

    The cause is not chained: the SDK's own errors quote the upstream's response, which can contain the credential.
    """

    @functools.wraps(call)
    async def wrapper(self: Self, /, *args: Args.args, **kwargs: Args.kwargs) -> Result:
        try:
            result = await call(self, *args, **kwargs)
        except asyncio.CancelledError:
            self.call_ended("away")
            raise
        except Exception as error:
            failure = error if isinstance(error, UpstreamError) else upstream_error(error)
            self.call_ended(failure.kind)
            raise failure from None
        self.call_ended(None)
        return self.without_credential(result)

    return wrapper


def _kind(error: openai.APIStatusError) -> RefusalKind | None:
    return kind_of_refusal(error.status_code, (error.code, error.type))
