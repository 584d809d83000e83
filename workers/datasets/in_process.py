"""Makes one attempt at leased work on datasets, in a process of its own.

Reports, leakage reports and preparations share it; each kind subclasses `DatasetWork` with what is specific to it. An
attempt is counted in the row before it is made, since a dataset can kill the process that reads it, and the worker too
(see `retry_policy`). One that reaches a limit of time or memory is not repeated. While the process runs, the lease is
renewed and the progress is written into the row.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from service.database import leases
from service.database.leases import Claim
from service.database.tables.base import Leased
from service.processes.guard import LimitReached
from service.processes.pool import OnProgress, WorkFailed
from workers.context import Context
from workers.datasets.limits import limit_reason
from workers.datasets.retry_policy import MAX_ATTEMPTS, after_failure

log = structlog.get_logger()

PROGRESS_EVERY_SECONDS = 0.5

Row = TypeVar("Row", bound=Leased)
Input = TypeVar("Input")
Result = TypeVar("Result")


class DatasetWork(ABC, Generic[Row, Input, Result]):
    """A claimed row of one kind of work: what it reads, what it asks of a process, and how its result is recorded."""

    failure_event: ClassVar[str]
    """The log event of an attempt whose process failed."""

    started_values: ClassVar[Mapping[str, object]] = {}
    """Columns that are written together with the count of the attempt."""

    def __init__(self, ctx: Context, claimed: Claim[Row]) -> None:
        self.ctx = ctx
        self.claimed = claimed

    @abstractmethod
    def log_fields(self) -> dict[str, str]:
        """The ids that identify the work in the log."""

    @abstractmethod
    async def load(self, session: AsyncSession) -> Input:
        """Read the files that the work is about, in the transaction that counts the attempt."""

    @abstractmethod
    def counted(self) -> None:
        """Pass the fault point that follows the commit of the count."""

    @abstractmethod
    def result_without_attempt(self, loaded: Input) -> Result | None:
        """The result where an attempt would be pointless, as when a file was deleted; None to make the attempt."""

    @abstractmethod
    async def run(self, loaded: Input, progress: OnProgress) -> Result:
        """Have a process do the work. Raises `WorkFailed` and `LimitReached`."""

    @abstractmethod
    def exceeded(self, loaded: Input, reason: str) -> Result:
        """The result that says which limit of time or memory the dataset reached."""

    @abstractmethod
    def give_up(self, loaded: Input) -> Result:
        """The result that says that the work cannot be done."""

    @abstractmethod
    async def record(self, loaded: Input, result: Result) -> None:
        """Write the result and end the lease, in one fenced transaction. Raises `LeaseLost`."""


async def attempt(work: DatasetWork[Row, Input, Result]) -> None:
    """Make one attempt, then record its result or give the row back until the next attempt. Raises `LeaseLost`."""
    ctx, claimed = work.ctx, work.claimed
    async with leases.heartbeat(ctx.db, claimed):
        attempts = claimed.row.failures + 1
        async with ctx.db.worker() as session:
            await leases.write(session, claimed, {"failures": attempts, **work.started_values})
            loaded = await work.load(session)
        work.counted()
        result = work.result_without_attempt(loaded)
        if result is None and attempts > MAX_ATTEMPTS:
            result = work.give_up(loaded)
        if result is None:
            try:
                result = await work.run(loaded, _Progress(ctx, claimed).write)
            except LimitReached as reached:
                log.warning(work.failure_event, **work.log_fields(), attempts=attempts, error=str(reached))
                result = work.exceeded(loaded, limit_reason(reached, ctx.settings))
            except WorkFailed as error:
                log.error(work.failure_event, **work.log_fields(), attempts=attempts, error=str(error))
                retry = after_failure(attempts, store_unavailable=error.store_unavailable)
                if retry is not None:
                    async with ctx.db.worker() as session:
                        values = {"failures": retry.attempts}
                        await leases.give_back(session, claimed, values, due_in_seconds=retry.in_seconds)
                    return
                result = work.give_up(loaded)
        await work.record(loaded, result)


class _Progress(Generic[Row]):
    """Writes progress into the row, at most twice a second. The write is fenced, so it fails once the lease is lost."""

    def __init__(self, ctx: Context, claimed: Claim[Row]) -> None:
        self._ctx = ctx
        self._claimed = claimed
        self._written_at = time.monotonic()

    async def write(self, done_bytes: int) -> None:
        if time.monotonic() - self._written_at < PROGRESS_EVERY_SECONDS:
            return
        self._written_at = time.monotonic()
        async with self._ctx.db.worker() as session:
            await leases.write(session, self._claimed, {"progress_bytes": done_bytes})
