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
from tests.webhooks.factories import World
from tests.webhooks.receiver import Receiver, answer
from workers.webhooks.deliver import IN_FLIGHT_PER_ENDPOINT, deliver

client = OpenAI(api_key="none", base_url="http://127.0.0.1:1/v1")


class TestSuccess:
    async def test_arrives_signed_and_is_recorded(self, here: World, receiver: Receiver) -> None:
        secret = new_secret()
        endpoint_id = await here.new_endpoint(receiver.url("/hook"), secret=secret, failing_since=_hours_ago(1))
        await here.emit("ftjob-1")
        assert await here.deliver_due() == 1
        (request,), (event,) = receiver.received, await here.events()
        assert request.body == event.body
        assert request.headers["webhook-id"] == event.id
        client.webhooks.verify_signature(request.body, request.headers, secret=secret)
        assert json.loads(request.body)["data"]["id"] == "ftjob-1"
        (delivery,), (attempt,) = await here.deliveries(), await here.attempts()
        assert (delivery.status, delivery.attempts, delivery.due_at, delivery.leased_until) == (
            "succeeded",
            1,
            None,
            None,
        )
        assert (attempt.status_code, attempt.error, attempt.response, attempt.attempt) == (200, None, "thank", 1)
        assert attempt.project_id == here.project_id
        assert (await here.endpoint(endpoint_id)).failing_since is None

    async def test_a_rotation_signs_with_both_secrets(self, here: World, receiver: Receiver) -> None:
        old = new_secret()
        endpoint_id = await here.new_endpoint(receiver.url(), secret=old)
        async with here.db.project(here.project_id) as session:
            _, new = await actions.rotate_secret(session, here.sealer, here.project_id, endpoint_id, keep_old=True)
        await here.emit()
        await here.deliver_due()
        async with here.db.project(here.project_id) as session:
            _, newest = await actions.rotate_secret(session, here.sealer, here.project_id, endpoint_id, keep_old=False)
        await here.emit()
        await here.deliver_due()
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
        self, here: World, receiver: Receiver, path: str, status_code: int | None, error: str | None
    ) -> None:
        here = _with_timeout(here, 0.3 if error == "timeout" else 60)
        receiver.answers |= {f"/{status}": [answer(status, body=b"no\x00no")] for status in (500, 301, 404)}
        receiver.answers["/garbage"] = [b"\x00\xff nonsense \x00\r\n\r\n"]
        endpoint_id = await here.new_endpoint(receiver.url(path))
        await here.emit()
        assert await here.deliver_due() == 1
        (delivery,), (attempt,) = await here.deliveries(), await here.attempts()
        assert (delivery.status, delivery.attempts, delivery.failures) == ("pending", 1, 1)
        assert delivery.due_at is not None
        assert attempt.status_code == status_code
        assert (attempt.error or "").startswith(error or "")
        assert (attempt.error is None) == (error is None)
        assert (await here.endpoint(endpoint_id)).failing_since is not None

    async def test_the_schedule_is_kept_and_the_id_stays(self, here: World, receiver: Receiver) -> None:
        receiver.answers["/"] = [answer(500)]
        endpoint_id = await here.new_endpoint(receiver.url())
        await here.emit()
        for tries in range(1, 8):
            assert await here.deliver_due() == 1
            (delivery,) = await here.deliveries()
            assert delivery.attempts == tries
            if tries < 7:
                delay = here.settings.webhook_schedule_seconds[tries - 1]
                left = (delivery.due_at or dt.datetime.max.replace(tzinfo=dt.UTC)) - dt.datetime.now(dt.UTC)
                assert left.total_seconds() <= 1.2 * delay
                await here.make_due()
        assert (delivery.status, delivery.due_at) == ("failed", None)
        assert await here.deliver_due() == 0
        assert len({request.headers["webhook-id"] for request in receiver.received}) == 1
        assert [attempt.attempt for attempt in await here.attempts()] == list(range(1, 8))
        assert (await here.endpoint(endpoint_id)).disabled_at is None

    async def test_retry_after_is_honoured(self, here: World, receiver: Receiver) -> None:
        receiver.answers["/"] = [answer(503, "Retry-After: 1000\r\n")]
        await here.new_endpoint(receiver.url())
        await here.emit()
        await here.deliver_due()
        (delivery,) = await here.deliveries()
        assert delivery.due_at is not None
        assert 900 < (delivery.due_at - dt.datetime.now(dt.UTC)).total_seconds() <= 1000

    async def test_each_try_has_its_own_timestamp(self, here: World, receiver: Receiver) -> None:
        receiver.answers["/"] = [answer(500)]
        await here.new_endpoint(receiver.url())
        await here.emit()
        await here.deliver_due()
        await asyncio.sleep(1.1)
        await here.make_due()
        await here.deliver_due()
        first, second = (int(request.headers["webhook-timestamp"]) for request in receiver.received)
        assert first < second

    async def test_a_secret_that_does_not_open_is_shown(self, here: World, receiver: Receiver) -> None:
        endpoint_id = await here.new_endpoint(receiver.url())
        sealed = seal_secret(Sealer(bytes(32)), endpoint_id, new_secret())
        await _set_endpoint(here, endpoint_id, secret_encrypted=sealed)
        await here.emit()
        await here.deliver_due()
        (delivery,), (attempt,) = await here.deliveries(), await here.attempts()
        assert delivery.status == "pending"
        assert (attempt.error or "").startswith("secret_unreadable")
        assert receiver.received == []


class TestEndpoint:
    async def test_410_disables_it_at_once(self, here: World, receiver: Receiver) -> None:
        receiver.answers["/"] = [answer(410)]
        endpoint_id = await here.new_endpoint(receiver.url())
        await here.emit()
        await here.emit()
        assert await here.deliver_due() == 2
        endpoint = await here.endpoint(endpoint_id)
        assert endpoint.disabled_at is not None
        assert "410" in (endpoint.disabled_reason or "")
        assert [row.status for row in await here.deliveries()] == ["failed", "failed"]
        first, second = await here.attempts()
        assert first.status_code == 410
        assert (second.error or "").startswith("endpoint_disabled")
        assert len(receiver.received) == 1
        await here.emit()
        assert len(await here.deliveries()) == 2

    @pytest.mark.parametrize(("hours", "disabled"), [(119, False), (121, True)])
    async def test_120_hours_of_failures_disable_it(
        self, here: World, receiver: Receiver, hours: int, disabled: bool
    ) -> None:
        receiver.answers["/"] = [answer(500)]
        endpoint_id = await here.new_endpoint(receiver.url(), failing_since=_hours_ago(hours))
        await here.emit()
        await here.deliver_due()
        endpoint = await here.endpoint(endpoint_id)
        assert (endpoint.disabled_at is not None) == disabled
        assert disabled == ("Every delivery failed" in (endpoint.disabled_reason or ""))

    async def test_one_success_begins_the_count_anew(self, here: World, receiver: Receiver) -> None:
        receiver.answers["/"] = [answer(200), answer(500)]
        endpoint_id = await here.new_endpoint(receiver.url(), failing_since=_hours_ago(200))
        await here.emit()
        await here.deliver_due()
        await here.emit()
        await here.deliver_due()
        endpoint = await here.endpoint(endpoint_id)
        assert endpoint.disabled_at is None
        assert endpoint.failing_since is not None
        assert endpoint.failing_since > _hours_ago(1)

    async def test_deleted_before_the_try(self, here: World, receiver: Receiver) -> None:
        endpoint_id = await here.new_endpoint(receiver.url())
        await here.emit()
        async with here.db.project(here.project_id) as session:
            await actions.delete_endpoint(session, here.project_id, endpoint_id)
        assert await here.deliver_due() == 1
        (delivery,), (attempt,) = await here.deliveries(), await here.attempts()
        assert (delivery.status, delivery.due_at) == ("failed", None)
        assert (attempt.error or "").startswith("endpoint_deleted")
        assert receiver.received == []

    async def test_an_answer_to_the_old_url_does_not_disable_the_new_one(self, here: World, receiver: Receiver) -> None:
        endpoint_id = await here.new_endpoint(receiver.url("/held"))
        await here.emit()
        (claimed,) = await here.claim()
        trying = asyncio.create_task(deliver(here, claimed))
        await receiver.arrived.wait()
        await _set_endpoint(here, endpoint_id, failing_since=_hours_ago(200))
        async with here.db.project(here.project_id) as session:
            await actions.update_endpoint(
                session, here.project_id, endpoint_id, UpdateEndpoint(url=receiver.url("/well"))
            )
        receiver.let_go.set()
        await trying
        endpoint = await here.endpoint(endpoint_id)
        assert (endpoint.disabled_at, endpoint.failing_since) == (None, None)


class TestFaults:
    async def test_a_crash_before_the_record_sends_it_again_with_the_same_id(
        self, here: World, receiver: Receiver
    ) -> None:
        await here.new_endpoint(receiver.url("/never"))
        await here.emit()
        (claimed,) = await here.claim()
        crashing = asyncio.create_task(deliver(here, claimed))
        await receiver.arrived.wait()
        crashing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await crashing
        assert await here.attempts() == []
        assert await here.claim() == []
        async with here.db.worker() as session:
            await session.execute(update(WebhookDelivery).values(leased_until=func.now()))
            await session.execute(update(WebhookEndpoint).values(url=receiver.url("/well")))
        assert await here.deliver_due() == 1
        first, second = receiver.received
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body
        (delivery,), (attempt,) = await here.deliveries(), await here.attempts()
        assert (delivery.status, delivery.attempts, attempt.attempt) == ("succeeded", 1, 1)

    async def test_who_lost_the_lease_records_nothing(self, here: World, receiver: Receiver) -> None:
        await here.new_endpoint(receiver.url())
        await here.emit()
        (stale,) = await here.claim(lease_seconds=0.2)
        await asyncio.sleep(0.3)
        (fresh,) = await here.claim()
        await deliver(here, stale)
        assert await here.attempts() == []
        await deliver(here, fresh)
        await deliver(here, fresh)
        assert len(await here.attempts()) == 1
        (delivery,) = await here.deliveries()
        assert (delivery.status, delivery.attempts) == ("succeeded", 1)

    async def test_many_workers_try_each_delivery_once(self, here: World, receiver: Receiver) -> None:
        await here.new_endpoint(receiver.url())
        for number in range(20):
            await here.emit(f"ftjob-{number}")

        async def work() -> None:
            idle = 0
            while idle < 5:
                claimed = await here.claim()
                idle = 0 if claimed else idle + 1
                for each in claimed:
                    await deliver(here, each)
                await asyncio.sleep(0.01)

        await asyncio.gather(*(work() for _ in range(5)))
        assert len(receiver.received) == 20
        assert len(await here.attempts()) == 20
        assert {row.status for row in await here.deliveries()} == {"succeeded"}

    async def test_a_try_longer_than_its_lease_keeps_it(self, here: World, receiver: Receiver) -> None:
        await here.new_endpoint(receiver.url("/never"))
        await here.emit()
        (claimed,) = await here.claim(lease_seconds=9)
        trying = asyncio.create_task(deliver(_with_timeout(here, 11), claimed))
        await asyncio.sleep(9.5)
        assert await here.claim() == []
        await trying
        (attempt,) = await here.attempts()
        assert (attempt.error or "").startswith("timeout")

    @pytest.mark.parametrize("status", [200, 410, 500])
    async def test_asked_for_again_while_its_last_try_is_under_way(
        self, here: World, receiver: Receiver, status: int
    ) -> None:
        receiver.answers["/held"] = [answer(status)]
        await here.new_endpoint(receiver.url("/held"))
        await here.emit()
        async with here.db.worker() as session:
            await session.execute(update(WebhookDelivery).values(failures=99))
        (claimed,) = await here.claim()
        trying = asyncio.create_task(deliver(here, claimed))
        await receiver.arrived.wait()
        async with here.db.project(here.project_id) as session:
            await actions.redeliver(session, here.project_id, claimed.row.id)
        receiver.let_go.set()
        await trying
        assert [row.status for row in await here.deliveries()] == ["pending"]
        assert [attempt.status_code for attempt in await here.attempts()] == [status]
        assert len(await here.claim(failing=status == 500)) == 1


class TestFairness:
    async def test_one_endpoint_takes_only_a_few_places(self, here: World) -> None:
        slow = await here.new_endpoint("https://slow.example/")
        for _ in range(50):
            await here.emit()
        quick = await here.new_endpoint("https://quick.example/", event_types=["file.processed"])
        await here.emit(type="file.processed")
        first = await here.claim(limit=32)
        assert sorted(claimed.row.endpoint_id for claimed in first) == [slow] * IN_FLIGHT_PER_ENDPOINT + [quick]
        assert await here.claim(limit=32) == []
        async with here.db.worker() as session:
            await session.execute(
                update(WebhookDelivery).where(WebhookDelivery.id == first[0].row.id).values(leased_until=func.now())
            )
        assert len(await here.claim(limit=32)) == 1


def _hours_ago(hours: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)


def _with_timeout(here: World, seconds: float) -> World:
    settings = dataclasses.replace(here.settings, webhook_timeout_seconds=seconds)
    return dataclasses.replace(here, settings=settings, sender=type(here.sender).from_settings(settings))


async def _set_endpoint(here: World, endpoint_id: str, **values: object) -> None:
    async with here.db.worker() as session:
        await session.execute(update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id).values(**values))
