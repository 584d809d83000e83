"""A worker's sign of life: a row that says when its reconciler last turned. `/readyz` shows the newest."""

import datetime as dt

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert

from service.database.engine import Database
from service.database.tables import WorkerHeartbeat
from service.ids import new_id
from workers.dispatcher import Reconciler

BEAT_SECONDS = 5.0
FORGOTTEN = dt.timedelta(days=1)
"""Rows of workers that were killed; those of workers that stopped are removed by themselves."""


class Heartbeat:
    """Tells of one worker, and only while its reconciler turns: a process that lives and claims nothing is silent."""

    def __init__(self, db: Database, reconciler: Reconciler) -> None:
        self._db = db
        self._reconciler = reconciler
        self._rounds = -1
        self._id = new_id("worker-")

    async def beat(self) -> None:
        """Write the row, at the start and whenever the reconciler has made a round since the last time."""
        if self._reconciler.rounds == self._rounds:
            return
        self._rounds = self._reconciler.rounds
        beaten = insert(WorkerHeartbeat).values(id=self._id)
        async with self._db.worker() as session:
            await session.execute(
                beaten.on_conflict_do_update(index_elements=["id"], set_={"beat_at": func.clock_timestamp()})
            )
            await session.execute(delete(WorkerHeartbeat).where(WorkerHeartbeat.beat_at < func.now() - FORGOTTEN))

    async def end(self) -> None:
        """Remove the row: this worker stops."""
        async with self._db.worker() as session:
            await session.execute(delete(WorkerHeartbeat).where(WorkerHeartbeat.id == self._id))
