"""The dispatcher: claims rows of leased work that are due, every second and after wake-ups, and runs their steps.

Work depends on Postgres alone: without wake-ups it starts up to a second later. Projects share the concurrent steps of
each queue (`service/database/fair_claims.py`); a wake-up only causes a claim, and gets no row a place before others.
"""

import asyncio
import contextlib
import time
from collections import Counter as Count
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database import leases
from service.database.engine import Database
from service.database.fair_claims import Claimed, FairClaim, Heads, claim_fairly
from service.database.leased_work import LeasedWork
from service.database.leases import Claim

log = structlog.get_logger()

STEPS = Counter("tunegate_steps_total", "Steps of leased work that have ended.", ["kind"])
RUNNING = Gauge("tunegate_steps_running", "Steps of leased work that are running.", ["kind"])


MAX_CLAIMS = 3
"""Claims in a row, if other workers claimed rows that this one had chosen."""


@dataclass(slots=True, eq=False)
class Queue:
    """One kind of leased work in this worker: the step for a claimed row, and the maximum of concurrent steps.

    `heads` has the rows that may be claimed, by project; None if the rows belong to no project. A kind may have several
    queues whose rows differ; the first one gets its wake-ups. The steps of a `separate` queue make no rows of others
    due: when one ends, this queue alone is claimed again.
    """

    name: str
    work: LeasedWork
    step: Callable[[Claim[Any]], Awaitable[None]]
    concurrency: int
    heads: Heads | None = None
    separate: bool = False
    tasks: dict["asyncio.Task[None]", str] = field(default_factory=dict)
    """The steps that are running, and their projects."""

    last_admissions: dict[str, float] = field(default_factory=dict)
    claiming: asyncio.Lock = field(default_factory=asyncio.Lock)
    claim_waits: bool = False
    """Whether a claim waits for the one in progress; it finds all that is due until it begins."""

    @property
    def free(self) -> int:
        """How many more steps may start now."""
        return self.concurrency - len(self.tasks)

    async def claim(self, session: AsyncSession, lease_seconds: float) -> Claimed:
        """Claim rows for the steps that may start now."""
        if self.heads is None:
            claims = await leases.claim(session, self.work.table, lease_seconds=lease_seconds, limit=self.free)
            return Claimed([FairClaim("", each) for each in claims], lost_some=False)
        return await claim_fairly(
            session,
            self.work.table,
            self.heads,
            places=self.concurrency,
            occupied=Count(self.tasks.values()),
            last_admissions=self.last_admissions,
            lease_seconds=lease_seconds,
        )


class Dispatcher:
    """Claims due rows and runs their steps."""

    def __init__(self, db: Database, queues: list[Queue], *, lease_seconds: float, every_seconds: float) -> None:
        self._db = db
        self._queues = queues
        self._lease_seconds = lease_seconds
        self._every_seconds = every_seconds
        self._due_queues = select(*(exists().where(leases.due(queue.work.table)) for queue in queues))
        self._again = asyncio.Event()
        self._round_is_due = True
        self._ended: set[Queue] = set()
        self._stopping = False
        self._begun_at = time.monotonic()
        self.rounds = 0
        """Completed rounds: claims over all queues without a database error."""

    @property
    def silent_seconds(self) -> float:
        """How long no round has begun, beyond the pause between two. An unavailable database does not stop rounds."""
        return max(0.0, time.monotonic() - self._begun_at - self._every_seconds)

    async def run(self) -> None:
        """Claim due rows now, then every `every_seconds` and whenever a step has ended, until `stop` is called."""
        loop = asyncio.get_running_loop()
        round_at = loop.time()
        while not self._stopping:
            self._again.clear()
            ended, self._ended = self._ended, set()
            if self._round_is_due or loop.time() >= round_at:
                self._round_is_due = False
                round_at = loop.time() + self._every_seconds
                await self._round()
            else:
                for queue in ended:
                    await self._claim(queue)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(round_at):
                    await self._again.wait()

    async def wake(self, work: str) -> None:
        """Claim due rows of a kind that a wake-up names. Wake-ups during a claim cause one more claim together."""
        await self._claim(next(each for each in self._queues if each.work.name == work))

    async def stop(self, grace_seconds: float) -> None:
        """Stop claiming and wait for running steps. Steps that outlast the grace are cancelled; their leases expire."""
        self._stopping = True
        self._again.set()
        tasks = [task for queue in self._queues for task in queue.tasks]
        if not tasks:
            return
        try:
            await asyncio.wait(tasks, timeout=grace_seconds)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _round(self) -> None:
        self._begun_at = time.monotonic()
        due = await self._due()
        if due is not None and all([await self._claim(queue) for queue in due]):
            self.rounds += 1

    async def _due(self) -> list[Queue] | None:
        """The queues with due rows, by one query since mostly none has any; None if the database is unavailable."""
        try:
            async with self._db.claims() as session:
                found = (await session.execute(self._due_queues)).one()
        except Exception as error:
            log.error("dispatcher.database_unavailable", error=repr(error))
            return None
        return [queue for queue, is_due in zip(self._queues, found, strict=True) if is_due]

    async def _claim(self, queue: Queue) -> bool:
        """Claim due rows and start their steps, unless a claim waits already. Returns False after a database error."""
        if queue.claim_waits:
            return True
        queue.claim_waits = True
        try:
            await queue.claiming.acquire()
        finally:  # also where a wake-up is cancelled while it waits, or no claim of this queue would ever follow
            queue.claim_waits = False
        try:
            return await self._claim_now(queue)
        finally:
            queue.claiming.release()

    async def _claim_now(self, queue: Queue) -> bool:
        for _ in range(MAX_CLAIMS):
            if self._stopping or queue.free <= 0:
                break
            try:
                async with self._db.claims() as session:
                    claimed = await queue.claim(session, self._lease_seconds)
            except Exception as error:
                log.error("dispatcher.claim_failed", kind=queue.name, error=repr(error))
                return False
            for project_id, claim in claimed.claims:
                queue.tasks[asyncio.create_task(self._run(queue, claim))] = project_id
                RUNNING.labels(queue.name).inc()
            if not claimed.lost_some:
                break
        return True

    async def _run(self, queue: Queue, claimed: Claim[Any]) -> None:
        structlog.contextvars.clear_contextvars()
        try:
            await queue.step(claimed)
        except leases.LeaseLost:
            log.info("step.taken_over", kind=queue.name, row=claimed.row.id)
        except Exception as error:
            log.error("step.failed", kind=queue.name, row=claimed.row.id, exc_info=error)
        finally:
            STEPS.labels(queue.name).inc()
            RUNNING.labels(queue.name).dec()
            task = asyncio.current_task()
            if task is not None:
                queue.tasks.pop(task, None)
            self._ended.add(queue)
            self._round_is_due |= not queue.separate
            self._again.set()
