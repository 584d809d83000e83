"""A worker's heartbeat: a row with the time of its dispatcher's last round. `/readyz` shows the newest."""

import asyncio
import datetime as dt

import structlog
from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert

from service.database.engine import Database
from service.database.tables import WorkerHeartbeat
from service.ids import new_id
from workers.dispatcher import Dispatcher

log = structlog.get_logger()

BEAT_SECONDS = 5.0
MAX_AGE = dt.timedelta(days=1)
"""After this time the row of a killed worker is deleted. A worker that stops deletes its own."""


class Heartbeat:
    """The heartbeat of one worker. It stops while the dispatcher completes no rounds, even if the process is alive."""

    def __init__(self, db: Database, dispatcher: Dispatcher) -> None:
        self._db = db
        self._dispatcher = dispatcher
        self._rounds = -1
        self._id = new_id("worker-")

    async def run(self) -> None:
        """Beat now and every `BEAT_SECONDS`, until cancelled."""
        while True:
            try:
                await self.beat()
            except Exception as error:
                log.error("heartbeat.failed", error=repr(error))
            await asyncio.sleep(BEAT_SECONDS)

    async def beat(self) -> None:
        """Write the row if this is the first beat, or if the dispatcher has completed a round since the last one."""
        if self._dispatcher.rounds == self._rounds:
            return
        self._rounds = self._dispatcher.rounds
        beaten = insert(WorkerHeartbeat).values(id=self._id)
        async with self._db.worker() as session:
            await session.execute(
                beaten.on_conflict_do_update(index_elements=["id"], set_={"beat_at": func.clock_timestamp()})
            )
            await session.execute(delete(WorkerHeartbeat).where(WorkerHeartbeat.beat_at < func.now() - MAX_AGE))

    async def end(self) -> None:
        """Delete the row when the worker stops."""
        async with self._db.worker() as session:
            await session.execute(delete(WorkerHeartbeat).where(WorkerHeartbeat.id == self._id))
