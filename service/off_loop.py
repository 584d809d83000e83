"""Runs work whose cost grows with a caller's bytes in threads, so that the event loop is never silent for long."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Args = ParamSpec("Args")
Result = TypeVar("Result")

INLINE_BYTES = 128 * 1024
"""Work on fewer bytes takes under a millisecond or two, and is done at once."""

_THREADS = ThreadPoolExecutor(2, thread_name_prefix="off-loop")
"""The work holds the interpreter's lock most of the time, so more threads would not make it faster."""


async def off_loop(
    size_bytes: int, function: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs
) -> Result:
    """The function's result; it runs in a thread if its input has more than `INLINE_BYTES`."""
    if size_bytes <= INLINE_BYTES:
        return function(*args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_THREADS, lambda: function(*args, **kwargs))
