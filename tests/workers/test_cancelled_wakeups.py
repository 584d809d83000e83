"""A wake-up that is cancelled while it waits for a claim in progress leaves its queue as it was."""

import asyncio
from typing import Any

from service.database.engine import Database, create_engine
from service.database.leased_work import DELIVERIES
from service.wakeups import Wakeups
from workers.dispatcher import Dispatcher, Queue


async def test_the_queue_is_claimed_again() -> None:
    async def step(_: Any) -> None:
        return

    queue = Queue("deliveries", DELIVERIES, step, concurrency=1)
    db = Database(create_engine("postgresql://nobody@127.0.0.1:1/none", pool_size=1), Wakeups(""))
    dispatcher = Dispatcher(db, [queue], lease_seconds=1, every_seconds=1)
    async with queue.claiming:
        waiting = asyncio.create_task(dispatcher.wake(DELIVERIES.name))
        await asyncio.sleep(0)
        assert queue.claim_waits
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert not queue.claim_waits
    assert not queue.claiming.locked()
    await db.close()
