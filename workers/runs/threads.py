"""Threads for the plans of runs, so that replaying or reviewing thousands of answers does not stop the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 16
"""More than runs that have a time slice at the same time, so that none waits for another one's thread."""

_executor = ThreadPoolExecutor(THREADS, thread_name_prefix="runs")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The result of a function that runs in one of the threads. What takes long there must not be one call in C."""
    return await asyncio.get_running_loop().run_in_executor(_executor, lambda: function(*args, **kwargs))
