"""The HTTP API of webhooks, driven by the official SDK against a real server."""

import asyncio
import dataclasses
import datetime as dt
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import openai
import pytest
import uvicorn
from openai import AsyncOpenAI
from sqlalchemy import select, update

from service.app import create_app
from service.database.tables import Project, RememberedRequest, WebhookDelivery, WebhookEndpoint
from service.identity.bootstrap import create_key
from service.settings import Settings
from service.webhooks import actions
from service.webhooks.actions import MAX_ENDPOINTS
from service.webhooks.event_types import EVENT_TYPES
from tests.webhooks.factories import TYPES, WebhookHarness
from tests.webhooks.receiver import Receiver, answer

EVENTS = ["fine_tuning.job.succeeded", "fine_tuning.job.failed"]


@pytest.fixture
async def base_url(settings: Settings) -> AsyncIterator[str]:
    """The service on a port of its own."""
    settings = dataclasses.replace(
        settings,
        upstream_base_url="http://127.0.0.1:1/v1",
        upstream_api_key="none",
        webhook_timeout_seconds=60.0,
    )
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="error"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    server.should_exit = True
    await serving


@pytest.fixture
async def sdk(base_url: str, settings: Settings) -> AsyncOpenAI:
    """The SDK with a key of the default project."""
    key = await create_key(settings, kind="project", name="test")
    return AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0)


@pytest.fixture
async def project_id(sdk: AsyncOpenAI, webhook_harness: WebhookHarness) -> str:
    """The project of `sdk`."""
    async with webhook_harness.db.admin() as session:
        found = await session.scalar(select(Project.id).where(Project.name == "default"))
    assert found is not None
    return found


class TestEndpoints:
    async def test_create_retrieve_list_update_delete(self, sdk: AsyncOpenAI, receiver: Receiver) -> None:
        made = await sdk.webhooks.create(name="mine", url=receiver.url("/a"), event_types=_types(EVENTS))
        assert made.object == "webhook_endpoint"
        assert made.id.startswith("we_")
        assert made.signing_secret.startswith("whsec_")
        assert made.signing_secret_hint == f"whsec_...{made.signing_secret[-4:]}"
        assert made.created_at == made.updated_at
        assert abs(made.created_at - time.time()) < 90
        second = await sdk.webhooks.create(name="second", url=receiver.url("/b"), event_types=_types(EVENTS[:1]))
        read = await sdk.webhooks.retrieve(made.id)
        assert "signing_secret" not in read.to_dict()
        assert (read.name, read.url, read.event_types) == ("mine", receiver.url("/a"), EVENTS)
        assert [each.id async for each in sdk.webhooks.list(limit=1)] == [second.id, made.id]
        changed = await sdk.webhooks.update(made.id, name="yours", event_types=_types([EVENTS[1], EVENTS[1]]))
        assert (changed.name, changed.url, changed.event_types) == ("yours", receiver.url("/a"), [EVENTS[1]])
        deleted = await sdk.webhooks.delete(made.id)
        assert deleted.to_dict() == {"id": made.id, "object": "webhook_endpoint.deleted", "deleted": True}
        with pytest.raises(openai.NotFoundError):
            await sdk.webhooks.retrieve(made.id)
        assert [each.id async for each in sdk.webhooks.list()] == [second.id]

    async def test_an_unchanged_update_does_not_move_updated_at(
        self, sdk: AsyncOpenAI, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        made = await sdk.webhooks.create(name="mine", url=receiver.url("/a"), event_types=_types(EVENTS))
        before = await webhook_harness.endpoint(made.id)
        await sdk.webhooks.update(made.id, name="mine", url=receiver.url("/a"), event_types=_types(EVENTS))
        await sdk.webhooks.update(made.id)
        assert (await webhook_harness.endpoint(made.id)).updated_at == before.updated_at
        await sdk.webhooks.update(made.id, name="other")
        assert (await webhook_harness.endpoint(made.id)).updated_at > before.updated_at

    async def test_an_update_enables_it_again(
        self, sdk: AsyncOpenAI, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        made = await sdk.webhooks.create(name="mine", url=receiver.url("/a"), event_types=_types(EVENTS))
        now = dt.datetime.now(dt.UTC)
        async with webhook_harness.db.worker() as session:
            await session.execute(
                update(WebhookEndpoint).values(disabled_at=now, disabled_reason="It was gone.", failing_since=now)
            )
        assert (await sdk.webhooks.retrieve(made.id)).to_dict()["disabled_reason"] == "It was gone."
        assert (await sdk.webhooks.update(made.id)).to_dict()["status"] == "enabled"
        row = await webhook_harness.endpoint(made.id)
        assert (row.disabled_at, row.disabled_reason, row.failing_since) == (None, None, None)

    async def test_a_repeated_create_gets_its_secret_again_and_it_is_stored_nowhere_in_clear(
        self, sdk: AsyncOpenAI, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        headers = {"Idempotency-Key": "one-endpoint"}
        first, again = [
            await sdk.webhooks.create(
                name="deploy", url=receiver.url("/a"), event_types=_types(EVENTS), extra_headers=headers
            )
            for _ in range(2)
        ]
        assert (again.id, again.signing_secret) == (first.id, first.signing_secret)
        async with webhook_harness.db.admin() as session:
            remembered = list(await session.scalars(select(RememberedRequest.response)))
        assert len(remembered) == 1
        assert first.signing_secret.encode() not in remembered[0]

    async def test_the_secret_is_encrypted_at_rest(
        self, sdk: AsyncOpenAI, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        made = await sdk.webhooks.create(name="mine", url=receiver.url("/a"), event_types=_types(EVENTS))
        row = await webhook_harness.endpoint(made.id)
        assert made.signing_secret.encode() not in row.secret_encrypted

    async def test_rotation(
        self, sdk: AsyncOpenAI, webhook_harness: WebhookHarness, project_id: str, receiver: Receiver
    ) -> None:
        made = await sdk.webhooks.create(name="mine", url=receiver.url("/a"), event_types=_types(EVENTS))
        rotated = await sdk.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
        assert rotated.signing_secret != made.signing_secret
        await webhook_harness.emit(project_id=project_id)
        await webhook_harness.deliver_due()
        rotated_again = await sdk.webhooks.rotate_secret(made.id)
        await webhook_harness.emit(project_id=project_id)
        await webhook_harness.deliver_due()
        both, one = receiver.received
        for secret in (made.signing_secret, rotated.signing_secret):
            sdk.webhooks.verify_signature(both.body, both.headers, secret=secret)
        sdk.webhooks.verify_signature(one.body, one.headers, secret=rotated_again.signing_secret)
        for secret in (made.signing_secret, rotated.signing_secret):
            with pytest.raises(openai.InvalidWebhookSignatureError):
                sdk.webhooks.verify_signature(one.body, one.headers, secret=secret)

    @pytest.mark.parametrize(
        ("body", "param", "code"),
        [
            ({"url": "http://127.0.0.1/", "event_types": EVENTS}, "name", "missing_required_parameter"),
            ({"name": "", "url": "http://127.0.0.1/", "event_types": EVENTS}, "name", "invalid_value"),
            ({"name": "x" * 257, "url": "http://127.0.0.1/", "event_types": EVENTS}, "name", "invalid_value"),
            ({"name": "a\x00b", "url": "http://127.0.0.1/", "event_types": EVENTS}, "name", "invalid_value"),
            ({"name": "a", "url": "http://127.0.0.1/", "event_types": []}, "event_types", "invalid_value"),
            (
                {"name": "a", "url": "http://127.0.0.1/", "event_types": ["job.done"]},
                "event_types",
                "unknown_event_type",
            ),
            ({"name": "a", "url": "http://127.0.0.1/", "event_types": EVENTS, "x": 1}, "x", "unknown_parameter"),
            ({"name": "a", "url": "http://example.com/", "event_types": EVENTS}, "url", "invalid_webhook_url"),
            ({"name": "a", "url": "nonsense", "event_types": EVENTS}, "url", "invalid_webhook_url"),
            ({"name": "a", "url": "https://10.0.0.1/", "event_types": EVENTS}, "url", "forbidden_webhook_target"),
            (
                {"name": "a", "url": "https://169.254.169.254/", "event_types": EVENTS},
                "url",
                "forbidden_webhook_target",
            ),
        ],
    )
    async def test_refusals(self, sdk: AsyncOpenAI, body: dict[str, Any], param: str, code: str) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.post("/webhook_endpoints", body=body, cast_to=object)
        assert (refused.value.param, refused.value.code) == (param, code)
        if code == "unknown_event_type":
            assert all(name in refused.value.message for name in EVENT_TYPES)

    async def test_a_project_has_at_most_fifty(
        self, sdk: AsyncOpenAI, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        async def create() -> object:
            return await sdk.webhooks.create(name="mine", url=receiver.url(), event_types=_types(EVENTS))

        results = await asyncio.gather(*(create() for _ in range(MAX_ENDPOINTS + 5)), return_exceptions=True)
        refused = [result for result in results if isinstance(result, openai.BadRequestError)]
        assert {error.code for error in refused} == {"too_many_webhook_endpoints"}
        async with webhook_harness.db.worker() as session:
            assert len((await session.scalars(select(WebhookEndpoint.id))).all()) == MAX_ENDPOINTS

    async def test_another_projects_endpoint_does_not_exist(
        self, sdk: AsyncOpenAI, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        theirs = await webhook_harness.new_endpoint(receiver.url())
        await webhook_harness.emit()
        (delivery,) = await webhook_harness.deliveries()
        assert [each.id async for each in sdk.webhooks.list()] == []
        for call in (
            sdk.webhooks.retrieve(theirs),
            sdk.webhooks.update(theirs, name="mine now"),
            sdk.webhooks.delete(theirs),
            sdk.webhooks.rotate_secret(theirs),
            sdk.webhooks.test(theirs, event_type="fine_tuning.job.failed"),
            sdk.get(f"/webhook_endpoints/{theirs}/deliveries", cast_to=object),
            sdk.post(f"/webhook_endpoints/{theirs}/recover", body={"since": 0}, cast_to=object),
            sdk.post(f"/webhook_deliveries/{delivery.id}/redeliver", cast_to=object),
        ):
            with pytest.raises(openai.NotFoundError):
                await call
        with pytest.raises(openai.BadRequestError):
            await sdk.get("/webhook_endpoints", cast_to=object, options={"params": {"after": theirs}})

    async def test_event_types(self, sdk: AsyncOpenAI) -> None:
        assert (await sdk.webhooks.event_types.list()).data == list(EVENT_TYPES)


class TestSample:
    @pytest.mark.parametrize("event_type", EVENT_TYPES)
    async def test_a_real_delivery_past_the_subscription(
        self, sdk: AsyncOpenAI, webhook_harness: WebhookHarness, receiver: Receiver, event_type: str
    ) -> None:
        receiver.answers["/a"] = [answer(418)]
        made = await sdk.webhooks.create(name="mine", url=receiver.url("/a"), event_types=_types(EVENTS[:1]))
        result = await sdk.webhooks.test(made.id, event_type=event_type)  # type: ignore[arg-type]
        assert result.to_dict() == {
            "object": "webhook_endpoint.test",
            "webhook_endpoint_id": made.id,
            "event_type": event_type,
            "status_code": 418,
            "success": True,
        }
        (request,) = receiver.received
        event = sdk.webhooks.unwrap(request.body, request.headers, secret=made.signing_secret)
        assert (event.type, event.id) == (event_type, request.headers["webhook-id"])
        assert await webhook_harness.events() == []

    async def test_no_answer_is_a_400_that_is_not_repeated(self, sdk: AsyncOpenAI, receiver: Receiver) -> None:
        patient = sdk.with_options(max_retries=2)
        made = await patient.webhooks.create(name="mine", url=receiver.url("/reset"), event_types=_types(EVENTS))
        with pytest.raises(openai.BadRequestError) as refused:
            await patient.webhooks.test(made.id, event_type="fine_tuning.job.failed")
        assert refused.value.code == "webhook_target_unreachable"
        assert len(receiver.received) == 1

    async def test_an_unknown_type(self, sdk: AsyncOpenAI, receiver: Receiver) -> None:
        made = await sdk.webhooks.create(name="mine", url=receiver.url(), event_types=_types(EVENTS))
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.webhooks.test(made.id, event_type="batch.completed")
        assert (refused.value.param, refused.value.code) == ("event_type", "unknown_event_type")
        assert receiver.received == []


class TestDeliveries:
    async def test_list_shows_every_attempt(
        self, sdk: AsyncOpenAI, webhook_harness: WebhookHarness, project_id: str, receiver: Receiver
    ) -> None:
        receiver.answers["/a"] = [answer(500, body=b"\xff broken"), answer(200, body=b"well")]
        made = await sdk.webhooks.create(name="mine", url=receiver.url("/a"), event_types=_types(EVENTS))
        await webhook_harness.emit(project_id=project_id)
        await webhook_harness.deliver_due()
        (first,) = (await _list(sdk, made.id))["data"]
        assert (first["object"], first["status"], first["event_type"]) == ("webhook_delivery", "pending", TYPES[0])
        assert first["next_attempt_at"] is not None
        await webhook_harness.make_due()
        await webhook_harness.deliver_due()
        (then,) = (await _list(sdk, made.id, status="succeeded"))["data"]
        assert then["next_attempt_at"] is None
        assert [(each["status_code"], each["response"]) for each in then["attempts"]] == [
            (500, "\ufffd broken"),
            (200, "well"),
        ]
        assert set(then["attempts"][0]) == {"at", "status_code", "latency_ms", "error", "response"}
        assert (await _list(sdk, made.id, status="failed"))["data"] == []

    async def test_pages(
        self, sdk: AsyncOpenAI, webhook_harness: WebhookHarness, project_id: str, receiver: Receiver
    ) -> None:
        made = await sdk.webhooks.create(name="mine", url=receiver.url("/a"), event_types=_types(EVENTS))
        for _ in range(5):
            await webhook_harness.emit(project_id=project_id)
        first = await _list(sdk, made.id, limit="2")
        assert (len(first["data"]), first["has_more"]) == (2, True)
        rest = await _list(sdk, made.id, limit="3", after=first["last_id"])
        assert (len(rest["data"]), rest["has_more"]) == (3, False)
        ids = [each["id"] for each in first["data"] + rest["data"]]
        assert ids == sorted(ids, reverse=True)
        with pytest.raises(openai.BadRequestError):
            await _list(sdk, made.id, after="whd_nothing")

    async def test_redeliver_keeps_the_id(
        self, sdk: AsyncOpenAI, webhook_harness: WebhookHarness, project_id: str, receiver: Receiver
    ) -> None:
        made = await sdk.webhooks.create(name="mine", url=receiver.url("/a"), event_types=_types(EVENTS))
        await webhook_harness.emit(project_id=project_id)
        await webhook_harness.deliver_due()
        (delivery,) = await webhook_harness.deliveries()
        for _ in range(2):
            shown = await _redeliver(sdk, delivery.id)
            assert shown["status"] == "pending"
            await webhook_harness.deliver_due()
        assert len(receiver.received) == 3
        assert len({request.headers["webhook-id"] for request in receiver.received}) == 1
        (then,) = (await _list(sdk, made.id))["data"]
        assert (then["status"], len(then["attempts"])) == ("succeeded", 3)

    async def test_redeliver_begins_the_schedule_anew(
        self, sdk: AsyncOpenAI, webhook_harness: WebhookHarness, project_id: str, receiver: Receiver
    ) -> None:
        receiver.answers["/a"] = [answer(500)]
        await sdk.webhooks.create(name="mine", url=receiver.url("/a"), event_types=_types(EVENTS))
        await webhook_harness.emit(project_id=project_id)
        async with webhook_harness.db.worker() as session:
            await session.execute(update(WebhookDelivery).values(failures=99))
        await webhook_harness.deliver_due()
        (delivery,) = await webhook_harness.deliveries()
        assert delivery.status == "failed"
        await _redeliver(sdk, delivery.id)
        await webhook_harness.deliver_due()
        (delivery,) = await webhook_harness.deliveries()
        assert (delivery.status, delivery.failures, delivery.attempts) == ("pending", 1, 2)

    async def test_redeliver_to_an_endpoint_that_gets_nothing(
        self, sdk: AsyncOpenAI, webhook_harness: WebhookHarness, project_id: str, receiver: Receiver
    ) -> None:
        receiver.answers["/a"] = [answer(410)]
        made = await sdk.webhooks.create(name="mine", url=receiver.url("/a"), event_types=_types(EVENTS))
        await webhook_harness.emit(project_id=project_id)
        await webhook_harness.deliver_due()
        (delivery,) = await webhook_harness.deliveries()
        with pytest.raises(openai.ConflictError) as disabled:
            await _redeliver(sdk, delivery.id)
        assert disabled.value.code == "webhook_endpoint_disabled"
        await sdk.webhooks.delete(made.id)
        with pytest.raises(openai.ConflictError) as deleted:
            await _redeliver(sdk, delivery.id)
        assert deleted.value.code == "webhook_endpoint_deleted"


class TestRecover:
    async def test_sends_what_failed_and_what_was_missed(
        self, sdk: AsyncOpenAI, webhook_harness: WebhookHarness, project_id: str, receiver: Receiver
    ) -> None:
        await webhook_harness.emit("ftjob-before", project_id=project_id)
        receiver.answers["/a"] = [answer(200), answer(410), answer(200)]
        made = await sdk.webhooks.create(name="mine", url=receiver.url("/a"), event_types=_types(EVENTS))
        for subject in ("ftjob-well", "ftjob-failed", "ftjob-disabled"):
            await webhook_harness.emit(subject, project_id=project_id)
            await webhook_harness.deliver_due()
        await webhook_harness.emit("file-1", type="file.processed", project_id=project_id)
        with pytest.raises(openai.ConflictError):
            await _recover(sdk, made.id, 0)
        await sdk.webhooks.update(made.id)
        receiver.received.clear()
        recovered = await _recover(sdk, made.id, 0)
        assert (recovered["object"], recovered["deliveries"]) == ("webhook_endpoint.recovery", 3)
        assert recovered["has_more"] is False
        await webhook_harness.deliver_due()
        subjects = [msgspec.json.decode(request.body)["data"]["id"] for request in receiver.received]
        assert sorted(subjects) == ["ftjob-before", "ftjob-disabled", "ftjob-failed"]
        assert (await _recover(sdk, made.id, 0))["deliveries"] == 0

    async def test_some_at_a_time(
        self,
        sdk: AsyncOpenAI,
        webhook_harness: WebhookHarness,
        project_id: str,
        receiver: Receiver,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(actions, "MAX_RECOVERED", 2)
        await webhook_harness.emit("ftjob-before", project_id=project_id)
        await webhook_harness.emit("ftjob-before-too", project_id=project_id)
        made = await sdk.webhooks.create(name="mine", url=receiver.url("/a"), event_types=_types(EVENTS))
        for number in range(3):
            await webhook_harness.emit(f"ftjob-{number}", project_id=project_id)
        async with webhook_harness.db.worker() as session:
            await session.execute(update(WebhookDelivery).values(status="failed", due_at=None))
        counts = [await _recover(sdk, made.id, 0) for _ in range(4)]
        assert [(each["deliveries"], each["has_more"]) for each in counts] == [
            (2, True),
            (2, True),
            (1, False),
            (0, False),
        ]

    async def test_since_then_only(
        self, sdk: AsyncOpenAI, webhook_harness: WebhookHarness, project_id: str, receiver: Receiver
    ) -> None:
        await webhook_harness.emit(project_id=project_id)
        made = await sdk.webhooks.create(name="mine", url=receiver.url("/a"), event_types=_types(EVENTS))
        assert (await _recover(sdk, made.id, int(time.time()) + 60))["deliveries"] == 0
        for since in (-1, 10**18, "yesterday", None):
            with pytest.raises(openai.BadRequestError):
                await _recover(sdk, made.id, since)


def _types(names: list[str]) -> Any:
    return names


async def _list(sdk: AsyncOpenAI, endpoint_id: str, **query: str) -> Any:
    return await sdk.get(f"/webhook_endpoints/{endpoint_id}/deliveries", cast_to=object, options={"params": query})


async def _redeliver(sdk: AsyncOpenAI, delivery_id: str) -> Any:
    return await sdk.post(f"/webhook_deliveries/{delivery_id}/redeliver", cast_to=object)


async def _recover(sdk: AsyncOpenAI, endpoint_id: str, since: object) -> Any:
    return await sdk.post(f"/webhook_endpoints/{endpoint_id}/recover", body={"since": since}, cast_to=object)
