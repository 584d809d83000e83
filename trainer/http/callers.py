"""Work in threads for a caller who may hang up while it runs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from .answers import HungUp
from .errors import ApiError
from .lists import AnyRequest

MAX_THREADS = 64
"""Threads that wait for answers; the other routes have threads of their own."""
T = TypeVar("T")


class Caller:
    """The client that waits for an answer; call it to learn whether it hung up."""

    def __init__(self) -> None:
        self.gone = False

    def __call__(self) -> bool:
        return self.gone


async def answer(request: AnyRequest, limiter: CapacityLimiter, work: Callable[[Caller], T]) -> T:
    """The result of `work`, which runs in a thread and learns from its argument when the caller hangs up."""
    caller = Caller()
    listening = asyncio.create_task(_listen(request, caller))
    try:
        return await to_thread.run_sync(work, caller, limiter=limiter)
    except HungUp:
        raise _gone() from None
    finally:
        listening.cancel()


async def relayed(request: AnyRequest, work: Callable[[Caller], Awaitable[T]]) -> T:
    """The result of `work` on the event loop, which learns from its argument when the caller hangs up."""
    caller = Caller()
    listening = asyncio.create_task(_listen(request, caller))
    try:
        return await work(caller)
    except HungUp:
        raise _gone() from None
    finally:
        listening.cancel()


async def stream(events: Iterator[bytes], limiter: CapacityLimiter, caller: Caller) -> AsyncIterator[bytes]:
    """The events of an iterator that runs in threads; a caller who hangs up ends it."""
    try:
        while (
            event := await to_thread.run_sync(next, events, None, limiter=limiter, abandon_on_cancel=True)
        ) is not None:
            yield event
    finally:
        caller.gone = True


def _gone() -> ApiError:
    return ApiError(499, "The caller closed the connection before the answer was complete.")


async def _listen(request: AnyRequest, caller: Caller) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    caller.gone = True
