"""Attempts that run at the same time share transactions, in which each has its own fence."""

import asyncio
import datetime as dt
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Select, event, func, text, update
from sqlalchemy.dialects.postgresql import asyncpg

from service.database.leases import Claim
from service.database.tables import WebhookDelivery
from service.webhooks.outcomes import Delivered, Outcome, Rejected
from service.webhooks.schedule import verdict
from tests.webhooks.factories import WebhookHarness
from tests.webhooks.receiver import Receiver, answer
from tests.workers.test_fair_claims import nodes
from workers.webhooks.attempt import Attempt
from workers.webhooks.deliver import deliver
from workers.webhooks.messages import _MESSAGES, read_messages
from workers.webhooks.record import _RECORD, record_attempts

OK = Delivered(status_code=200, latency_ms=1, response="")
REFUSED = Rejected(status_code=500, latency_ms=1, response="")


@contextmanager
def counted_statements(harness: WebhookHarness) -> "Iterator[Counter[str]]":
    """How many statements of each kind are sent to Postgres."""
    sent: Counter[str] = Counter()

    def count(_: Any, __: Any, statement: str, *rest: object) -> None:
        sent[statement.split()[0]] += 1

    engine = harness.db.engine.sync_engine
    event.listen(engine, "before_cursor_execute", count)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", count)


async def attempt(harness: WebhookHarness, claimed: Claim[WebhookDelivery], outcome: Outcome = OK) -> Attempt:
    """An attempt with this outcome."""
    messages = await read_messages(harness.db, [claimed.row.id])
    return Attempt(
        claimed=claimed,
        message=messages[claimed.row.id],
        started_at=dt.datetime.now(dt.UTC),
        outcome=outcome,
        verdict=verdict(outcome, failures_before=0, schedule_seconds=[60.0], random=0.5),
    )


async def emit_and_claim(harness: WebhookHarness, url: str, count: int) -> list[Claim[WebhookDelivery]]:
    """So many claimed deliveries of one event, each to its own endpoint."""
    for _ in range(count):
        await harness.new_endpoint(url)
    await harness.emit()
    return await harness.claim(limit=count)


async def test_the_messages_of_one_claim_are_read_by_one_query(
    webhook_harness: WebhookHarness, receiver: Receiver
) -> None:
    receiver.answers["/held"] = [answer(200)]
    claimed = await emit_and_claim(webhook_harness, receiver.url("/held"), 20)
    with counted_statements(webhook_harness) as sent:
        delivering = [asyncio.create_task(deliver(webhook_harness, each)) for each in claimed]
        while len(receiver.received) < 20:
            await asyncio.sleep(0.01)
    assert sent == {"SELECT": 1, "COMMIT": 1}
    receiver.let_go.set()
    await asyncio.gather(*delivering)
    assert {row.status for row in await webhook_harness.deliveries()} == {"succeeded"}


async def test_many_attempts_are_recorded_by_one_statement(webhook_harness: WebhookHarness) -> None:
    claimed = await emit_and_claim(webhook_harness, "https://a.example/", 20)
    attempts = [await attempt(webhook_harness, each) for each in claimed]
    with counted_statements(webhook_harness) as sent:
        assert await record_attempts(webhook_harness.db, attempts) == [1] * 20
    assert sent == {"WITH": 1, "COMMIT": 1}
    assert {(row.status, row.attempts, row.leased_until) for row in await webhook_harness.deliveries()} == {
        ("succeeded", 1, None)
    }


async def test_the_health_of_many_endpoints_is_written_by_two_statements(webhook_harness: WebhookHarness) -> None:
    claimed = await emit_and_claim(webhook_harness, "https://a.example/", 20)
    attempts = [await attempt(webhook_harness, each, REFUSED) for each in claimed]
    with counted_statements(webhook_harness) as sent:
        await record_attempts(webhook_harness.db, attempts)
    assert sent == {"WITH": 1, "SELECT": 1, "UPDATE": 1, "COMMIT": 1}
    for each in attempts:
        endpoint = await webhook_harness.endpoint(each.message.endpoint.id)
        assert endpoint.failing_since == each.started_at


async def test_an_attempt_that_lost_its_lease_is_left_out(webhook_harness: WebhookHarness) -> None:
    """One of three has lost its lease to another claim, whose attempt is recorded in the same transaction."""
    lost, *others = await emit_and_claim(webhook_harness, "https://a.example/", 3)
    async with webhook_harness.db.worker() as session:
        expire = update(WebhookDelivery).where(WebhookDelivery.id == lost.row.id).values(leased_until=func.now())
        await session.execute(expire)
    (fresh,) = await webhook_harness.claim()
    attempts = [
        await attempt(webhook_harness, lost, REFUSED),
        await attempt(webhook_harness, fresh),
        await attempt(webhook_harness, others[0]),
        await attempt(webhook_harness, others[1], REFUSED),
    ]
    assert await record_attempts(webhook_harness.db, attempts) == [None, 1, 1, 1]
    found = {row.id: (row.status, row.attempts) for row in await webhook_harness.deliveries()}
    assert found == {
        lost.row.id: ("succeeded", 1),
        others[0].row.id: ("succeeded", 1),
        others[1].row.id: ("pending", 1),
    }
    assert (await webhook_harness.endpoint(lost.row.endpoint_id)).failing_since is None
    assert len(await webhook_harness.attempts()) == 3


@pytest.mark.parametrize("statement", [_RECORD, _MESSAGES], ids=["record", "read"])
async def test_no_table_is_read_as_a_whole(webhook_harness: WebhookHarness, statement: Select[Any]) -> None:
    """By a plan that was made while the tables were empty, which Postgres goes on using."""
    sql = str(statement.compile(dialect=asyncpg.dialect()))  # type: ignore[no-untyped-call]
    arguments = ", ".join(["NULL"] * len(set(re.findall(r"\$\d+", sql))))
    async with webhook_harness.db.claims() as session:
        connection = (await (await session.connection()).get_raw_connection()).driver_connection
        assert connection is not None
        await connection.execute(f"SET LOCAL plan_cache_mode = force_generic_plan; PREPARE statement AS {sql}")
        plan: Any = await session.scalar(text(f"EXPLAIN (FORMAT JSON) EXECUTE statement({arguments})"))
        await connection.execute("DEALLOCATE statement")
    assert "Seq Scan" not in {node["Node Type"] for node in nodes(plan[0]["Plan"])}
