"""The loop that makes Postgres the truth: it claims what is due every second, whether anybody rang or not."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import ColumnElement, exists, select

from service.database import leases
from service.database.engine import Database
from service.database.leases import Claim

log = structlog.get_logger()

STEPS = Counter("tunegate_steps_total", "Steps of work that were run.", ["kind"])
UNDER_WAY = Gauge("tunegate_steps_under_way", "Steps of work that are being run.", ["kind"])


@dataclass(slots=True)
class Kind:
    """A kind of work: its table, the step that is run on a claimed row, and how many steps run at a time.

    `claimable` has more conditions for a row to be claimed: for one that the doorbell named, or (None) for any.
    """

    name: str
    table: Any
    step: Callable[[Any], Awaitable[None]]
    at_a_time: int
    claimable: Callable[[str | None], Sequence[ColumnElement[bool]]] = lambda row_id: ()
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def free(self) -> int:
        """How many more steps may start now."""
        return self.at_a_time - len(self.tasks)


class Reconciler:
    """Claims due rows and runs their steps."""

    def __init__(self, db: Database, kinds: list[Kind], *, lease_seconds: float, every_seconds: float) -> None:
        self._db = db
        self._kinds = {kind.name: kind for kind in kinds}
        self._lease_seconds = lease_seconds
        self._every_seconds = every_seconds
        self._look = asyncio.Event()
        self._stopping = False
        self.rounds = 0
        """How many times it has looked at every kind of work and was answered."""

    async def run(self) -> None:
        """Look for due rows at once, then every so often and whenever a step has ended; until `stop`."""
        while not self._stopping:
            self._look.clear()
            due = await self._due()
            if due is not None and all([await self._claim(kind) for kind in due]):
                self.rounds += 1
            try:
                async with asyncio.timeout(self._every_seconds):
                    await self._look.wait()
            except TimeoutError:
                continue

    async def look_at(self, kind_name: str, row_id: str) -> None:
        """The doorbell: claim one row now, if it is due and there is room."""
        kind = self._kinds[kind_name]
        await self._claim(kind, row_id)

    async def stop(self, grace_seconds: float) -> None:
        """Claim nothing more and let what runs come to its end; what does not is cancelled and left to its lease."""
        self._stopping = True
        self._look.set()
        tasks = [task for kind in self._kinds.values() for task in kind.tasks]
        if not tasks:
            return
        try:
            await asyncio.wait(tasks, timeout=grace_seconds)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _due(self) -> list[Kind] | None:
        """The kinds that have something due, asked in one query, for mostly there is nothing; None: no answer."""
        kinds = list(self._kinds.values())
        try:
            async with self._db.worker() as session:
                found = (
                    await session.execute(select(*(exists().where(leases.due(kind.table)) for kind in kinds)))
                ).one()
        except Exception as error:
            log.error("reconcile.cannot_look", error=repr(error))
            return None
        return [kind for kind, is_due in zip(kinds, found, strict=True) if is_due]

    async def _claim(self, kind: Kind, row_id: str | None = None) -> bool:
        """Whether the database answered."""
        if self._stopping or kind.free <= 0:
            return True
        try:
            async with self._db.worker() as session:
                claimed: list[Claim[Any]] = await leases.claim(
                    session,
                    kind.table,
                    lease_seconds=self._lease_seconds,
                    limit=kind.free,
                    where=[*([kind.table.id == row_id] if row_id else []), *kind.claimable(row_id)],
                )
        except Exception as error:
            log.error("reconcile.cannot_claim", kind=kind.name, error=repr(error))
            return False
        for each in claimed:
            task = asyncio.create_task(self._run(kind, each))
            kind.tasks.add(task)
            UNDER_WAY.labels(kind.name).inc()
        return True

    async def _run(self, kind: Kind, claimed: Claim[Any]) -> None:
        structlog.contextvars.clear_contextvars()
        try:
            await kind.step(claimed)
        except leases.LeaseLost:
            log.info("step.taken_over", kind=kind.name, row=claimed.row.id)
        except Exception as error:
            log.error("step.broke", kind=kind.name, row=claimed.row.id, exc_info=error)
        finally:
            STEPS.labels(kind.name).inc()
            UNDER_WAY.labels(kind.name).dec()
            task = asyncio.current_task()
            if task is not None:
                kind.tasks.discard(task)
            self._look.set()
