"""A heartbeat of a short step costs no task and no transaction."""

import asyncio
import datetime as dt
import time

from service.database import leases
from service.database.engine import Database, create_engine
from service.database.leases import Claim
from service.database.tables import Deletion
from service.wakeups import Wakeups


async def test_a_step_shorter_than_a_third_of_its_lease_starts_no_task() -> None:
    db = Database(create_engine("postgresql://nobody@127.0.0.1:1/none", pool_size=1), Wakeups(""))
    now = dt.datetime.now(dt.UTC)
    claimed = Claim(Deletion(id="d"), token=1, due_at=now, lease_seconds=30.0, deadline=time.monotonic() + 30.0)
    before = asyncio.all_tasks()
    async with leases.heartbeat(db, claimed):
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before
    assert not claimed.lost
    await db.close()
