"""Shared transactions: while one runs, further operations gather, and the next transaction commits them together.

An operation that comes alone is committed at once, without a wait for others; under load the transactions become
larger, not more. What an operation may change is decided inside the transaction, for each by its own condition.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from service.database.sqlstates import is_fault_of_a_value

Operation = TypeVar("Operation")
Result = TypeVar("Result")

MAX_OPERATIONS = 200
"""Operations of one transaction."""


class GroupCommit(Generic[Operation, Result]):
    """Commits operations by `commit`, which gets one or more and returns the result of each, in their order.

    One transaction runs at a time. If a value of one operation violates a constraint or a type, the others are
    committed without it.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Operation]], Awaitable[Sequence[Result]]],
        *,
        max_operations: int = MAX_OPERATIONS,
    ) -> None:
        self._commit = commit
        self._max_operations = max_operations
        self._waiting: list[tuple[Operation, asyncio.Future[Result]]] = []
        self._running: asyncio.Task[None] | None = None

    async def submit(self, operation: Operation) -> Result:
        """The operation's result, when it is committed. Raises what `commit` raises.

        An operation is committed even if its caller is cancelled while it waits.
        """
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, result))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await result

    async def _run(self) -> None:
        while self._waiting:
            batch = self._waiting[: self._max_operations]
            del self._waiting[: self._max_operations]
            await self._commit_or_fail(batch)
        self._running = None

    async def _commit_or_fail(self, batch: Sequence[tuple[Operation, "asyncio.Future[Result]"]]) -> None:
        try:
            results = await self._commit([operation for operation, _ in batch])
        except Exception as error:
            if len(batch) == 1 or not is_fault_of_a_value(error):
                _fail(batch, error)
                return
            for each in batch:
                await self._commit_or_fail([each])
        else:
            for (_, result), value in zip(batch, results, strict=True):
                if not result.done():
                    result.set_result(value)


def _fail(batch: Sequence[tuple[Operation, "asyncio.Future[Result]"]], error: Exception) -> None:
    for _, result in batch:
        if not result.done():
            result.set_exception(error)
