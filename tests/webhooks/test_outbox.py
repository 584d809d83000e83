"""Events written with the change that caused them."""

import datetime as dt
import json

import pytest
from sqlalchemy import update

from service.database.leased_work import DELIVERIES
from service.database.tables import WebhookEndpoint
from service.wakeups import take_wakeups
from service.webhooks import outbox
from tests.webhooks.factories import TYPES, WebhookHarness


class TestEmit:
    async def test_one_delivery_for_each_subscriber(self, webhook_harness: WebhookHarness) -> None:
        first, second = (
            await webhook_harness.new_endpoint("https://a.example/"),
            await webhook_harness.new_endpoint("https://b.example/"),
        )
        await webhook_harness.new_endpoint("https://c.example/", event_types=[TYPES[1]])
        deleted, disabled = (
            await webhook_harness.new_endpoint("https://d.example/"),
            await webhook_harness.new_endpoint("https://e.example/"),
        )
        await _end(webhook_harness, deleted, disabled)
        other = await webhook_harness.new_project()
        await webhook_harness.new_endpoint("https://f.example/", project_id=other)
        await webhook_harness.emit("ftjob-1")
        deliveries = await webhook_harness.deliveries()
        assert sorted(row.endpoint_id for row in deliveries) == sorted([first, second])
        assert {(row.status, row.project_id, row.attempts) for row in deliveries} == {
            ("pending", webhook_harness.project_id, 0)
        }
        assert len(await webhook_harness.claim(limit=10)) == 2

    async def test_one_wake_up_for_all_subscribers(self, webhook_harness: WebhookHarness) -> None:
        for _ in range(3):
            await webhook_harness.new_endpoint("https://a.example/")
        async with webhook_harness.db.worker() as session:
            await outbox.emit(
                session,
                project_id=webhook_harness.project_id,
                type=TYPES[0],
                subject="ftjob-1",
                data={},
                now=dt.datetime.now(dt.UTC),
            )
            assert [each.work for each in take_wakeups(session)] == [DELIVERIES.name]
        assert len(await webhook_harness.deliveries()) == 3

    async def test_the_event_is_recorded_without_subscribers(self, webhook_harness: WebhookHarness) -> None:
        await webhook_harness.emit("ftjob-1")
        (event,) = await webhook_harness.events()
        assert (event.type, event.subject, event.project_id) == (TYPES[0], "ftjob-1", webhook_harness.project_id)
        assert json.loads(event.body)["id"] == event.id
        assert json.loads(event.body)["data"] == {"id": "ftjob-1", "status": "succeeded"}
        assert await webhook_harness.deliveries() == []

    async def test_nothing_of_it_stays_when_the_change_is_rolled_back(self, webhook_harness: WebhookHarness) -> None:
        await webhook_harness.new_endpoint("https://a.example/")
        with pytest.raises(RuntimeError):
            await _emit_and_fail(webhook_harness)
        assert await webhook_harness.events() == []
        assert await webhook_harness.deliveries() == []


async def _emit_and_fail(webhook_harness: WebhookHarness) -> None:
    async with webhook_harness.db.project(webhook_harness.project_id) as session:
        await outbox.emit(
            session,
            project_id=webhook_harness.project_id,
            type=TYPES[0],
            subject="ftjob-1",
            data={},
            now=dt.datetime.now(dt.UTC),
        )
        raise RuntimeError("the change failed")


async def _end(webhook_harness: WebhookHarness, deleted: str, disabled: str) -> None:
    now = dt.datetime.now(dt.UTC)
    async with webhook_harness.db.worker() as session:
        await session.execute(update(WebhookEndpoint).where(WebhookEndpoint.id == deleted).values(deleted_at=now))
        await session.execute(update(WebhookEndpoint).where(WebhookEndpoint.id == disabled).values(disabled_at=now))
