"""A slow or dead endpoint does not delay others: who is claimed, in which places, and at what cost."""

import asyncio
import datetime as dt
import re
from collections import Counter
from functools import partial
from typing import Any

import pytest
from sqlalchemy import delete, func, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import asyncpg

from service.database.fair_claims import FREE
from service.database.leased_work import DELIVERIES
from service.database.tables import WebhookDelivery, WebhookEvent
from service.webhooks import schedule
from tests.webhooks.factories import TYPES, WebhookHarness
from tests.webhooks.receiver import Receiver
from workers.dispatcher import Dispatcher, Queue
from workers.webhooks.candidates import (
    MAX_CONCURRENT_PER_ENDPOINT,
    MAX_CONCURRENT_PER_FAILING_ENDPOINT,
    Health,
    candidates,
)
from workers.webhooks.deliver import deliver

DEAD, WELL = TYPES
"""Types by which an event goes to one kind of endpoint only."""

PLACES = 32


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


async def _endpoints(
    webhook_harness: WebhookHarness, count: int, url: str, type: str, *, failing: bool = False
) -> list[str]:
    since = _now() - dt.timedelta(hours=1) if failing else None
    return [await webhook_harness.new_endpoint(url, event_types=[type], failing_since=since) for _ in range(count)]


async def _backlog(webhook_harness: WebhookHarness, endpoint_id: str, count: int) -> None:
    """So many deliveries that are due for an hour already."""
    values = {"project": webhook_harness.project_id, "endpoint": endpoint_id, "count": count}
    async with webhook_harness.db.worker() as session:
        await session.execute(
            text(
                "INSERT INTO webhook_events (id, project_id, type, subject, body) "
                "SELECT 'evt_' || n, :project, 'file.error', 's', '' FROM generate_series(1, :count) n"
            ),
            values,
        )
        await session.execute(
            text(
                "INSERT INTO webhook_deliveries (id, project_id, endpoint_id, event_id, due_at) SELECT 'whd_' || n, "
                ":project, :endpoint, 'evt_' || n, now() - interval '1 hour' FROM generate_series(1, :count) n"
            ),
            values,
        )


class TestPlaces:
    async def test_each_endpoint_gets_a_few_the_longest_due_first(self, webhook_harness: WebhookHarness) -> None:
        first, second = await _endpoints(webhook_harness, 2, "https://a.example/", WELL)
        for number in range(6):
            await webhook_harness.emit(f"s-{number}", type=WELL)
        claimed = await webhook_harness.claim(limit=100)
        assert Counter(each.row.endpoint_id for each in claimed) == {
            first: MAX_CONCURRENT_PER_ENDPOINT,
            second: MAX_CONCURRENT_PER_ENDPOINT,
        }
        places = {each.id: number for number, each in enumerate(await webhook_harness.deliveries())}
        assert sorted(places[each.row.id] for each in claimed) == list(range(2 * MAX_CONCURRENT_PER_ENDPOINT))
        assert await webhook_harness.claim(limit=100) == []

    async def test_a_failing_one_gets_fewer_and_in_places_of_its_own(self, webhook_harness: WebhookHarness) -> None:
        (failing,) = await _endpoints(webhook_harness, 1, "https://dead.example/", DEAD, failing=True)
        (well,) = await _endpoints(webhook_harness, 1, "https://well.example/", WELL)
        for _ in range(6):
            await webhook_harness.emit(type=DEAD)
            await webhook_harness.emit(type=WELL)
        fast, retried = (
            await webhook_harness.claim(limit=100, health="fast"),
            await webhook_harness.claim(limit=100, health="failing"),
        )
        assert [each.row.endpoint_id for each in fast] == [well] * MAX_CONCURRENT_PER_ENDPOINT
        assert [each.row.endpoint_id for each in retried] == [failing] * MAX_CONCURRENT_PER_FAILING_ENDPOINT

    async def test_a_slow_one_has_places_of_its_own_until_it_answers_fast(
        self, webhook_harness: WebhookHarness, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (endpoint_id,) = await _endpoints(webhook_harness, 1, receiver.url("/well"), WELL)
        rounds: list[tuple[str, float, Health]] = [("a", -1.0, "fast"), ("b", -1.0, "slow"), ("c", 60.0, "slow")]
        for subject, slow_seconds, health in rounds:
            monkeypatch.setattr(schedule, "SLOW_SECONDS", slow_seconds)
            await webhook_harness.emit(subject, type=WELL)
            assert await webhook_harness.claim(health="slow" if health == "fast" else "fast") == []
            (claimed,) = await webhook_harness.claim(health=health)
            await deliver(webhook_harness, claimed)
            slow_since = (await webhook_harness.endpoint(endpoint_id)).slow_since
            assert (slow_since is not None) == (slow_seconds < 0)

    async def test_a_lease_that_is_over_is_no_place_taken(self, webhook_harness: WebhookHarness) -> None:
        await _endpoints(webhook_harness, 1, "https://a.example/", WELL)
        for _ in range(6):
            await webhook_harness.emit(type=WELL)
        claimed = await webhook_harness.claim(limit=100)
        async with webhook_harness.db.worker() as session:
            mine = WebhookDelivery.id.in_([each.row.id for each in claimed[:2]])
            await session.execute(update(WebhookDelivery).where(mine).values(leased_until=func.now()))
        assert len(await webhook_harness.claim(limit=100)) == 2


class TestCost:
    async def test_does_not_grow_with_a_backlog(self, webhook_harness: WebhookHarness) -> None:
        """Pages of Postgres that one claim looks at: of 20 and of 10,000 deliveries that wait for a dead endpoint."""
        (dead,) = await _endpoints(webhook_harness, 1, "https://dead.example/", DEAD)
        await _endpoints(webhook_harness, 20, "https://well.example/", WELL)
        await webhook_harness.emit(type=WELL)
        await _backlog(webhook_harness, dead, 20)
        small = await self.pages(webhook_harness)
        async with webhook_harness.db.worker() as session:
            await session.execute(delete(WebhookDelivery).where(WebhookDelivery.endpoint_id == dead))
            await session.execute(delete(WebhookEvent).where(WebhookEvent.type == "file.error"))
        await _backlog(webhook_harness, dead, 10_000)
        assert await self.pages(webhook_harness) < 3 * small

    async def test_does_not_grow_with_endpoints_for_which_nothing_waits(self, webhook_harness: WebhookHarness) -> None:
        """By a plan that was made while there were few endpoints, which Postgres goes on using."""
        await _endpoints(webhook_harness, 20, "https://well.example/", WELL)
        await webhook_harness.emit(type=WELL)
        sql = candidates("fast").compile(dialect=asyncpg.dialect())  # type: ignore[no-untyped-call]
        async with webhook_harness.db.claims() as session:
            connection = (await (await session.connection()).get_raw_connection()).driver_connection
            assert connection is not None
            await connection.execute(f"SET LOCAL plan_cache_mode = force_generic_plan; PREPARE heads AS {sql}")
            arguments = ", ".join(["4"] * len(set(re.findall(r"\$\d+", str(sql)))))
            explain = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE heads({arguments})")
            few: Any = await session.scalar(explain)
            await session.execute(
                text(
                    "INSERT INTO webhook_endpoints (id, project_id, name, url, event_types, secret_encrypted, "
                    "secret_hint) SELECT 'we_' || n, :project, 'idle', 'https://idle.example/', '{}', '', '' "
                    "FROM generate_series(1, 10000) n"
                ),
                {"project": webhook_harness.project_id},
            )
            many: Any = await session.scalar(explain)
            await connection.execute("DEALLOCATE heads")
        assert _pages(many) < 3 * _pages(few)

    async def pages(self, webhook_harness: WebhookHarness) -> int:
        query = candidates("fast").params({FREE.key: 256})
        sql = query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]
        async with webhook_harness.db.claims() as session:
            plan: Any = await session.scalar(text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}"))
        return _pages(plan)


def _pages(plan: Any) -> int:
    return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


class TestHanging:
    async def test_hanging_endpoints_hold_their_share_and_the_others_go_on(
        self, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        """Three endpoints never answer, one does: all of its events arrive while the others hang."""
        await _endpoints(webhook_harness, 3, receiver.url("/never"), DEAD)
        await _endpoints(webhook_harness, 1, receiver.url("/well"), WELL)
        for _ in range(20):
            await webhook_harness.emit(type=DEAD)
        for _ in range(20):
            await webhook_harness.emit(type=WELL)
        expected = {"/well": 20, "/never": 3 * MAX_CONCURRENT_PER_ENDPOINT}
        assert await self.until(webhook_harness, receiver, expected) == expected

    async def test_a_project_s_hanging_endpoints_leave_half_of_the_places(
        self, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        """Two projects have more hanging endpoints than there are places; another one's events arrive meanwhile."""
        hanging = [webhook_harness.project_id, await webhook_harness.new_project()]
        well = await webhook_harness.new_project()
        for project_id in hanging:
            for _ in range(10):
                await webhook_harness.new_endpoint(receiver.url("/never"), event_types=[DEAD], project_id=project_id)
        await webhook_harness.new_endpoint(receiver.url("/well"), event_types=[WELL], project_id=well)
        for _ in range(4):
            for project_id in hanging:
                await webhook_harness.emit(type=DEAD, project_id=project_id)
        for _ in range(20):
            await webhook_harness.emit(type=WELL, project_id=well)
        received = await self.until(webhook_harness, receiver, {"/well": 20, "/never": PLACES // 2 + 1})
        assert received["/never"] <= PLACES * 3 // 4

    async def until(self, webhook_harness: WebhookHarness, receiver: Receiver, minimum: dict[str, int]) -> Counter[str]:
        """Deliver until each path has received so many requests at least; how many each has."""
        queues = [
            Queue("deliveries", DELIVERIES, partial(deliver, webhook_harness), PLACES, partial(candidates, "fast")),
            Queue("retries", DELIVERIES, partial(deliver, webhook_harness), 4, partial(candidates, "failing")),
        ]
        dispatcher = Dispatcher(webhook_harness.db, queues, lease_seconds=60, every_seconds=0.05)
        running = asyncio.create_task(dispatcher.run())

        def received() -> Counter[str]:
            return Counter(request.path for request in receiver.received)

        try:
            async with asyncio.timeout(50):
                while any(received()[path] < count for path, count in minimum.items()):
                    await asyncio.sleep(0.05)
            return received()
        finally:
            await dispatcher.stop(0)
            await running
