"""A result that is computed for everybody who asks for it at the same time, and reused for a moment.

A probe costs a query, and probes come without a key from everybody who reaches the port: however many there are, one
computation runs at a time and the next one begins when its result is `seconds` old.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SharedResult(Generic[Result]):
    """The result of `compute`. An error reaches everybody who waits for it, and is not reused."""

    def __init__(self, compute: Callable[[], Awaitable[Result]], *, seconds: float) -> None:
        self._compute = compute
        self._seconds = seconds
        self._task: asyncio.Task[tuple[float, Result]] | None = None

    async def get(self) -> Result:
        """The newest result, at most `seconds` old when it is not being computed just now."""
        if self._task is None or (self._task.done() and not self._is_fresh(self._task)):
            self._task = asyncio.create_task(self._computed())
        return (await asyncio.shield(self._task))[1]

    def _is_fresh(self, task: "asyncio.Task[tuple[float, Result]]") -> bool:
        if task.cancelled() or task.exception() is not None:
            return False
        return time.monotonic() - task.result()[0] < self._seconds

    async def _computed(self) -> tuple[float, Result]:
        result = await self._compute()
        return time.monotonic(), result
