"""Deliveries from the row to a real receiver and back, with crashes, racers and endpoints that go away."""

import asyncio
import dataclasses
import datetime as dt
import json

import pytest
from openai import OpenAI
from sqlalchemy import func, update

from service.database.encryption import Sealer
from service.database.tables import WebhookDelivery, WebhookEndpoint
from service.webhooks import actions
from service.webhooks.schemas import UpdateEndpoint
from service.webhooks.secrets import seal_secret
from service.webhooks.signing import new_secret
from tests.webhooks.factories import WebhookHarness
from tests.webhooks.receiver import Receiver, answer
from workers.webhooks.candidates import MAX_CONCURRENT_PER_ENDPOINT
from workers.webhooks.deliver import deliver

client = OpenAI(api_key="none", base_url="http://127.0.0.1:1/v1")


class TestSuccess:
    async def test_arrives_signed_and_is_recorded(self, webhook_harness: WebhookHarness, receiver: Receiver) -> None:
        secret = new_secret()
        endpoint_id = await webhook_harness.new_endpoint(
            receiver.url("/hook"), secret=secret, failing_since=_hours_ago(1)
        )
        await webhook_harness.emit("ftjob-1")
        assert await webhook_harness.deliver_due() == 1
        (request,), (event,) = receiver.received, await webhook_harness.events()
        assert request.body == event.body
        assert request.headers["webhook-id"] == event.id
        client.webhooks.verify_signature(request.body, request.headers, secret=secret)
        assert json.loads(request.body)["data"]["id"] == "ftjob-1"
        (delivery,), (attempt,) = await webhook_harness.deliveries(), await webhook_harness.attempts()
        assert (delivery.status, delivery.attempts, delivery.due_at, delivery.leased_until) == (
            "succeeded",
            1,
            None,
            None,
        )
        assert (attempt.status_code, attempt.error, attempt.response, attempt.attempt) == (200, None, "thank", 1)
        assert attempt.project_id == webhook_harness.project_id
        assert (await webhook_harness.endpoint(endpoint_id)).failing_since is None

    async def test_a_rotation_signs_with_both_secrets(
        self, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        old = new_secret()
        endpoint_id = await webhook_harness.new_endpoint(receiver.url(), secret=old)
        async with webhook_harness.db.project(webhook_harness.project_id) as session:
            _, new = await actions.rotate_secret(
                session, webhook_harness.sealer, webhook_harness.project_id, endpoint_id, keep_old=True
            )
        await webhook_harness.emit()
        await webhook_harness.deliver_due()
        async with webhook_harness.db.project(webhook_harness.project_id) as session:
            _, newest = await actions.rotate_secret(
                session, webhook_harness.sealer, webhook_harness.project_id, endpoint_id, keep_old=False
            )
        await webhook_harness.emit()
        await webhook_harness.deliver_due()
        during, after = receiver.received
        for secret in (old, new):
            client.webhooks.verify_signature(during.body, during.headers, secret=secret)
        client.webhooks.verify_signature(after.body, after.headers, secret=newest)
        assert during.headers["webhook-signature"].count("v1,") == 2
        assert after.headers["webhook-signature"].count("v1,") == 1


class TestFailure:
    @pytest.mark.parametrize(
        ("path", "status_code", "error"),
        [
            ("/500", 500, None),
            ("/301", 301, None),
            ("/404", 404, None),
            ("/garbage", None, "protocol_error"),
            ("/never", None, "timeout"),
            ("/drip-headers", None, "timeout"),
        ],
    )
    async def test_is_recorded_and_tried_again(
        self, webhook_harness: WebhookHarness, receiver: Receiver, path: str, status_code: int | None, error: str | None
    ) -> None:
        webhook_harness = _with_timeout(webhook_harness, 0.3 if error == "timeout" else 60)
        receiver.answers |= {f"/{status}": [answer(status, body=b"no\x00no")] for status in (500, 301, 404)}
        receiver.answers["/garbage"] = [b"\x00\xff nonsense \x00\r\n\r\n"]
        endpoint_id = await webhook_harness.new_endpoint(receiver.url(path))
        await webhook_harness.emit()
        assert await webhook_harness.deliver_due() == 1
        (delivery,), (attempt,) = await webhook_harness.deliveries(), await webhook_harness.attempts()
        assert (delivery.status, delivery.attempts, delivery.failures) == ("pending", 1, 1)
        assert delivery.due_at is not None
        assert attempt.status_code == status_code
        assert (attempt.error or "").startswith(error or "")
        assert (attempt.error is None) == (error is None)
        assert (await webhook_harness.endpoint(endpoint_id)).failing_since is not None

    async def test_the_schedule_is_kept_and_the_id_stays(
        self, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        receiver.answers["/"] = [answer(500)]
        endpoint_id = await webhook_harness.new_endpoint(receiver.url())
        await webhook_harness.emit()
        for attempts in range(1, 8):
            assert await webhook_harness.deliver_due() == 1
            (delivery,) = await webhook_harness.deliveries()
            assert delivery.attempts == attempts
            if attempts < 7:
                delay = webhook_harness.settings.webhook_schedule_seconds[attempts - 1]
                left = (delivery.due_at or dt.datetime.max.replace(tzinfo=dt.UTC)) - dt.datetime.now(dt.UTC)
                assert left.total_seconds() <= 1.2 * delay
                await webhook_harness.make_due()
        assert (delivery.status, delivery.due_at) == ("failed", None)
        assert await webhook_harness.deliver_due() == 0
        assert len({request.headers["webhook-id"] for request in receiver.received}) == 1
        assert [attempt.attempt for attempt in await webhook_harness.attempts()] == list(range(1, 8))
        assert (await webhook_harness.endpoint(endpoint_id)).disabled_at is None

    async def test_retry_after_is_honoured(self, webhook_harness: WebhookHarness, receiver: Receiver) -> None:
        receiver.answers["/"] = [answer(503, "Retry-After: 1000\r\n")]
        await webhook_harness.new_endpoint(receiver.url())
        await webhook_harness.emit()
        await webhook_harness.deliver_due()
        (delivery,) = await webhook_harness.deliveries()
        assert delivery.due_at is not None
        assert 900 < (delivery.due_at - dt.datetime.now(dt.UTC)).total_seconds() <= 1000

    async def test_each_attempt_has_its_own_timestamp(
        self, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        receiver.answers["/"] = [answer(500)]
        await webhook_harness.new_endpoint(receiver.url())
        await webhook_harness.emit()
        await webhook_harness.deliver_due()
        await asyncio.sleep(1.1)
        await webhook_harness.make_due()
        await webhook_harness.deliver_due()
        first, second = (int(request.headers["webhook-timestamp"]) for request in receiver.received)
        assert first < second

    async def test_a_secret_that_does_not_open_is_shown(
        self, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        endpoint_id = await webhook_harness.new_endpoint(receiver.url())
        sealed = seal_secret(Sealer(bytes(32)), endpoint_id, new_secret())
        await _set_endpoint(webhook_harness, endpoint_id, secret_encrypted=sealed)
        await webhook_harness.emit()
        await webhook_harness.deliver_due()
        (delivery,), (attempt,) = await webhook_harness.deliveries(), await webhook_harness.attempts()
        assert delivery.status == "pending"
        assert (attempt.error or "").startswith("secret_unreadable")
        assert receiver.received == []


class TestEndpoint:
    async def test_410_disables_it_at_once(self, webhook_harness: WebhookHarness, receiver: Receiver) -> None:
        receiver.answers["/"] = [answer(410)]
        endpoint_id = await webhook_harness.new_endpoint(receiver.url())
        await webhook_harness.emit()
        await webhook_harness.emit()
        assert await webhook_harness.deliver_due() == 2
        endpoint = await webhook_harness.endpoint(endpoint_id)
        assert endpoint.disabled_at is not None
        assert "410" in (endpoint.disabled_reason or "")
        assert [row.status for row in await webhook_harness.deliveries()] == ["failed", "failed"]
        first, second = await webhook_harness.attempts()
        assert first.status_code == 410
        assert (second.error or "").startswith("endpoint_disabled")
        assert len(receiver.received) == 1
        await webhook_harness.emit()
        assert len(await webhook_harness.deliveries()) == 2

    @pytest.mark.parametrize(("hours", "disabled"), [(119, False), (121, True)])
    async def test_120_hours_of_failures_disable_it(
        self, webhook_harness: WebhookHarness, receiver: Receiver, hours: int, disabled: bool
    ) -> None:
        receiver.answers["/"] = [answer(500)]
        endpoint_id = await webhook_harness.new_endpoint(receiver.url(), failing_since=_hours_ago(hours))
        await webhook_harness.emit()
        await webhook_harness.deliver_due()
        endpoint = await webhook_harness.endpoint(endpoint_id)
        assert (endpoint.disabled_at is not None) == disabled
        assert disabled == ("Every delivery failed" in (endpoint.disabled_reason or ""))

    async def test_one_success_begins_the_count_anew(self, webhook_harness: WebhookHarness, receiver: Receiver) -> None:
        receiver.answers["/"] = [answer(200), answer(500)]
        endpoint_id = await webhook_harness.new_endpoint(receiver.url(), failing_since=_hours_ago(200))
        await webhook_harness.emit()
        await webhook_harness.deliver_due()
        await webhook_harness.emit()
        await webhook_harness.deliver_due()
        endpoint = await webhook_harness.endpoint(endpoint_id)
        assert endpoint.disabled_at is None
        assert endpoint.failing_since is not None
        assert endpoint.failing_since > _hours_ago(1)

    async def test_deleted_before_the_try(self, webhook_harness: WebhookHarness, receiver: Receiver) -> None:
        endpoint_id = await webhook_harness.new_endpoint(receiver.url())
        await webhook_harness.emit()
        async with webhook_harness.db.project(webhook_harness.project_id) as session:
            await actions.delete_endpoint(session, webhook_harness.project_id, endpoint_id)
        assert await webhook_harness.deliver_due() == 1
        (delivery,), (attempt,) = await webhook_harness.deliveries(), await webhook_harness.attempts()
        assert (delivery.status, delivery.due_at) == ("failed", None)
        assert (attempt.error or "").startswith("endpoint_deleted")
        assert receiver.received == []

    async def test_an_answer_to_the_old_url_does_not_disable_the_new_one(
        self, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        endpoint_id = await webhook_harness.new_endpoint(receiver.url("/held"))
        await webhook_harness.emit()
        (claimed,) = await webhook_harness.claim()
        trying = asyncio.create_task(deliver(webhook_harness, claimed))
        await receiver.arrived.wait()
        await _set_endpoint(webhook_harness, endpoint_id, failing_since=_hours_ago(200))
        async with webhook_harness.db.project(webhook_harness.project_id) as session:
            await actions.update_endpoint(
                session, webhook_harness.project_id, endpoint_id, UpdateEndpoint(url=receiver.url("/well"))
            )
        receiver.let_go.set()
        await trying
        endpoint = await webhook_harness.endpoint(endpoint_id)
        assert (endpoint.disabled_at, endpoint.failing_since) == (None, None)


class TestFaults:
    async def test_a_crash_before_the_record_sends_it_again_with_the_same_id(
        self, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        await webhook_harness.new_endpoint(receiver.url("/never"))
        await webhook_harness.emit()
        (claimed,) = await webhook_harness.claim()
        crashing = asyncio.create_task(deliver(webhook_harness, claimed))
        await receiver.arrived.wait()
        crashing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await crashing
        assert await webhook_harness.attempts() == []
        assert await webhook_harness.claim() == []
        async with webhook_harness.db.worker() as session:
            await session.execute(update(WebhookDelivery).values(leased_until=func.now()))
            await session.execute(update(WebhookEndpoint).values(url=receiver.url("/well")))
        assert await webhook_harness.deliver_due() == 1
        first, second = receiver.received
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body
        (delivery,), (attempt,) = await webhook_harness.deliveries(), await webhook_harness.attempts()
        assert (delivery.status, delivery.attempts, attempt.attempt) == ("succeeded", 1, 1)

    async def test_who_lost_the_lease_records_nothing(
        self, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        await webhook_harness.new_endpoint(receiver.url())
        await webhook_harness.emit()
        (stale,) = await webhook_harness.claim(lease_seconds=0.2)
        await asyncio.sleep(0.3)
        (fresh,) = await webhook_harness.claim()
        await deliver(webhook_harness, stale)
        assert await webhook_harness.attempts() == []
        await deliver(webhook_harness, fresh)
        await deliver(webhook_harness, fresh)
        assert len(await webhook_harness.attempts()) == 1
        (delivery,) = await webhook_harness.deliveries()
        assert (delivery.status, delivery.attempts) == ("succeeded", 1)

    async def test_many_workers_try_each_delivery_once(
        self, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        await webhook_harness.new_endpoint(receiver.url())
        for number in range(20):
            await webhook_harness.emit(f"ftjob-{number}")

        async def work() -> None:
            idle = 0
            while idle < 5:
                claimed = await webhook_harness.claim()
                idle = 0 if claimed else idle + 1
                for each in claimed:
                    await deliver(webhook_harness, each)
                await asyncio.sleep(0.01)

        await asyncio.gather(*(work() for _ in range(5)))
        assert len(receiver.received) == 20
        assert len(await webhook_harness.attempts()) == 20
        assert {row.status for row in await webhook_harness.deliveries()} == {"succeeded"}

    async def test_an_attempt_longer_than_its_lease_keeps_it(
        self, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        await webhook_harness.new_endpoint(receiver.url("/never"))
        await webhook_harness.emit()
        (claimed,) = await webhook_harness.claim(lease_seconds=9)
        trying = asyncio.create_task(deliver(_with_timeout(webhook_harness, 11), claimed))
        await asyncio.sleep(9.5)
        assert await webhook_harness.claim() == []
        await trying
        (attempt,) = await webhook_harness.attempts()
        assert (attempt.error or "").startswith("timeout")

    @pytest.mark.parametrize("status", [200, 410, 500])
    async def test_requested_again_during_its_last_attempt(
        self, webhook_harness: WebhookHarness, receiver: Receiver, status: int
    ) -> None:
        receiver.answers["/held"] = [answer(status)]
        await webhook_harness.new_endpoint(receiver.url("/held"))
        await webhook_harness.emit()
        async with webhook_harness.db.worker() as session:
            await session.execute(update(WebhookDelivery).values(failures=99))
        (claimed,) = await webhook_harness.claim()
        trying = asyncio.create_task(deliver(webhook_harness, claimed))
        await receiver.arrived.wait()
        async with webhook_harness.db.project(webhook_harness.project_id) as session:
            await actions.redeliver(session, webhook_harness.project_id, claimed.row.id)
        receiver.let_go.set()
        await trying
        assert [row.status for row in await webhook_harness.deliveries()] == ["pending"]
        assert [attempt.status_code for attempt in await webhook_harness.attempts()] == [status]
        assert len(await webhook_harness.claim(health="failing" if status == 500 else "fast")) == 1


class TestFairness:
    async def test_one_endpoint_takes_only_a_few_places(self, webhook_harness: WebhookHarness) -> None:
        slow = await webhook_harness.new_endpoint("https://slow.example/")
        for _ in range(50):
            await webhook_harness.emit()
        fast = await webhook_harness.new_endpoint("https://quick.example/", event_types=["file.processed"])
        await webhook_harness.emit(type="file.processed")
        first = await webhook_harness.claim(limit=32)
        assert sorted(claimed.row.endpoint_id for claimed in first) == [slow] * MAX_CONCURRENT_PER_ENDPOINT + [fast]
        assert await webhook_harness.claim(limit=32) == []
        async with webhook_harness.db.worker() as session:
            await session.execute(
                update(WebhookDelivery).where(WebhookDelivery.id == first[0].row.id).values(leased_until=func.now())
            )
        assert len(await webhook_harness.claim(limit=32)) == 1


def _hours_ago(hours: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)


def _with_timeout(webhook_harness: WebhookHarness, seconds: float) -> WebhookHarness:
    settings = dataclasses.replace(webhook_harness.settings, webhook_timeout_seconds=seconds)
    return dataclasses.replace(
        webhook_harness, settings=settings, sender=type(webhook_harness.sender).from_settings(settings)
    )


async def _set_endpoint(webhook_harness: WebhookHarness, endpoint_id: str, **values: object) -> None:
    async with webhook_harness.db.worker() as session:
        await session.execute(update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id).values(**values))
