"""Calls that are under way although their run is no longer this worker's: each is posted alone, once it is answered.

When the process stops, calls are awaited as running steps are. A call that is still unanswered then is disconnected and
posted as an estimate of what was sent, so that none is posted in full later, when its reservation expires.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from service.billing.actions import Actual
from service.billing.ledger_batcher import LedgerBatcher

log = structlog.get_logger()


class DetachedCalls:
    """The detached calls of a process. `close` it before the ledger batcher."""

    def __init__(self, ledger_batcher: LedgerBatcher) -> None:
        self._ledger_batcher = ledger_batcher
        self._postings: dict[asyncio.Task[None], asyncio.Task[Any]] = {}

    def add(self, project_id: str, call: "asyncio.Task[Any]", bill: Callable[[], Awaitable[Actual | None]]) -> None:
        """Post what `bill` returns once the call has ended: answered, failed or cancelled; None posts nothing."""
        posting = asyncio.create_task(self._post(project_id, call, bill))
        self._postings[posting] = call
        posting.add_done_callback(self._postings.pop)

    async def wait(self, seconds: float) -> None:
        """Wait until every call is answered and posted, at most `seconds`."""
        if self._postings:
            await asyncio.wait(self._postings, timeout=max(0.0, seconds))

    async def close(self) -> None:
        """Disconnect the calls that are not answered, and wait for all postings."""
        postings = dict(self._postings)
        for call in postings.values():
            call.cancel()
        await asyncio.gather(*postings, return_exceptions=True)

    async def _post(
        self, project_id: str, call: "asyncio.Task[Any]", bill: Callable[[], Awaitable[Actual | None]]
    ) -> None:
        await asyncio.wait([call])
        try:
            if (actual := await bill()) is not None:
                await self._ledger_batcher.settle(project_id, actual)
        except Exception as error:
            log.error("run.posting_failed", project=project_id, error=repr(error))
