"""`POST /v1/upstreams/{id}/events`: an upstream's signed webhook makes the job due; anything else changes nothing."""

import asyncio
import base64
import dataclasses
import datetime as dt
import json
import secrets
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import openai
import pytest
from sqlalchemy import func, select, update
from standardwebhooks import Webhook

from service.database.batched_lookups import MAX_QUERIES
from service.database.encryption import sealer_of
from service.database.tables import AuditLog, Job, UpstreamAccount, UpstreamWebhook
from service.errors import RateLimited, Unauthenticated
from service.ids import new_id
from service.settings import Settings
from service.upstreams import inbound_checks, inbound_webhooks
from service.upstreams.inbound_checks import InboundChecks
from service.upstreams.inbound_webhooks import signature_headers
from tests.faults.control import FaultyUpstream
from tests.identity.fixtures import Connections
from tests.upstreams.conftest import UpstreamApi, account
from tests.workers.account_polls import due, running, upstream_id
from tests.workers.harness import WorkerHarness
from workers.maintenance import pruning

GARBAGE = ["v1,", "v1", "v1,!!!", "v2,AAAA", ",", "x" * 2000, "v1,é", "v1,AAAA v1,BBBB", "v1a,AAAA"]


def new_secret() -> str:
    """A secret as upstreams make them."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def event(subject: str, type: str = "fine_tuning.job.succeeded") -> bytes:
    """An event as OpenAI sends it."""
    reported = {"object": "event", "id": "evt_1", "type": type, "created_at": 1, "data": {"id": subject}}
    return json.dumps(reported).encode()


def signed(secret: str, body: bytes, *, webhook_id: str | None = None, at: dt.datetime | None = None) -> dict[str, str]:
    """The headers of a webhook, by the library that signs ours too."""
    webhook_id = webhook_id or new_id("wh_")
    moment = (at or dt.datetime.now(dt.UTC)).replace(microsecond=0)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(msg_id=webhook_id, timestamp=moment, data=body.decode()),
        "content-type": "application/json",
    }


class Sender:
    """An upstream that tells: it has no key."""

    def __init__(self, upstream_api: UpstreamApi, account_id: str) -> None:
        self._http = httpx2.AsyncClient(base_url=upstream_api.base_url, timeout=90)
        self.account_id = account_id

    async def send(self, body: bytes, headers: dict[str, str], account_id: str | None = None) -> httpx2.Response:
        """One POST."""
        path = f"/upstreams/{account_id or self.account_id}/events"
        return await self._http.post(path, content=body, headers=headers)


@pytest.fixture
def step_settings(step_settings: Settings) -> Settings:
    """Few refusals a minute, but more than any test but the one of them brings about."""
    return dataclasses.replace(step_settings, failed_keys_per_minute=60)


@pytest.fixture
async def secret() -> str:
    """The default account's secret."""
    return new_secret()


@pytest.fixture
async def sender(upstream_api: UpstreamApi, secret: str) -> Sender:
    """An upstream whose secret the default account has, by the organisation's API."""
    answer = await upstream_api.admin.post("/organization/upstreams/default", json={"webhook_secret": secret})
    assert (answer.status_code, answer.json()["webhook_secret"]) == (200, "stored"), answer.text
    return Sender(upstream_api, "default")


async def notices(harness: WorkerHarness) -> int:
    """How many webhooks are remembered."""
    async with harness.ctx.db.admin() as session:
        return len((await session.scalars(select(UpstreamWebhook.webhook_id))).all())


class TestAGoodSignature:
    async def test_makes_the_job_due_now(self, harness: WorkerHarness, sender: Sender, secret: str) -> None:
        one, other = await running(harness, 2)
        body = event(await upstream_id(harness, one))
        answer = await sender.send(body, signed(secret, body))
        assert (answer.status_code, answer.json()) == (200, {"object": "upstream.event", "received": True})
        assert await due(harness) == {one}
        assert other != one

    async def test_is_what_the_sdk_takes_for_one_too(self, harness: WorkerHarness, sender: Sender, secret: str) -> None:
        [job_id] = await running(harness, 1)
        body = event(await upstream_id(harness, job_id))
        headers = signed(secret, body)
        openai.OpenAI(api_key="k", webhook_secret=secret).webhooks.verify_signature(body.decode(), headers)
        assert (await sender.send(body, headers)).status_code == 200
        assert await due(harness) == {job_id}

    @pytest.mark.parametrize(
        "body",
        [b"", b"{}", b"[]", b"null", b'{"data": 5}', b'{"data": {"id": 7}}', b'{"data": {"id": "a\\u0000b"}}', b"x",
         b"[" * 5000, event("ftjob-unknown"), event("ftjob-unknown", "invoice.paid")],
        ids=range(11),
    )  # fmt: skip
    async def test_of_what_is_not_known_is_taken_and_ignored(
        self, harness: WorkerHarness, sender: Sender, secret: str, body: bytes
    ) -> None:
        await running(harness, 1)
        assert (await sender.send(body, signed(secret, body))).status_code == 200
        assert await due(harness) == set()

    async def test_counts_once(self, harness: WorkerHarness, sender: Sender, secret: str) -> None:
        [job_id] = await running(harness, 1)
        body = event(await upstream_id(harness, job_id))
        headers = signed(secret, body)
        answers = await asyncio.gather(*(sender.send(body, headers) for _ in range(5)))
        assert {answer.status_code for answer in answers} == {200}
        assert await due(harness) == {job_id}
        await harness.set_job(job_id, due_at=func.now() + dt.timedelta(hours=1))
        assert (await sender.send(body, headers)).status_code == 200
        assert await due(harness) == set()
        assert await notices(harness) == 1

    async def test_is_remembered_for_its_time_only(self, harness: WorkerHarness, sender: Sender, secret: str) -> None:
        body = event("ftjob-unknown")
        await sender.send(body, signed(secret, body))
        await pruning.prune(harness.ctx)
        assert await notices(harness) == 1
        async with harness.ctx.db.admin() as session:
            await session.execute(
                update(UpstreamWebhook).values(received_at=func.now() - inbound_webhooks.REPLAY_WINDOW)
            )
        await pruning.prune(harness.ctx)
        assert await notices(harness) == 0
        assert inbound_webhooks.REPLAY_WINDOW > 2 * inbound_webhooks.TOLERANCE, (
            "else a timestamp of the future could come again"
        )


class TestABadOne:
    async def refused(
        self, harness: WorkerHarness, sender: Sender, body: bytes, headers: dict[str, str], **to: str
    ) -> str:
        """Send what must be refused, and look that it has changed nothing."""
        answer = await sender.send(body, headers, **to)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_signature")
        assert await due(harness) == set()
        assert await notices(harness) == 0
        return answer.text

    async def test_of_every_kind_is_refused_without_a_word_why(
        self, harness: WorkerHarness, sender: Sender, secret: str
    ) -> None:
        [job_id] = await running(harness, 1)
        body = event(await upstream_id(harness, job_id))
        good = signed(secret, body)
        reported = {
            await self.refused(harness, sender, body + b" ", good),
            await self.refused(harness, sender, body, signed(new_secret(), body)),
            await self.refused(harness, sender, body, {}),
            await self.refused(harness, sender, body, good, account_id="upstream_none"),
            await self.refused(harness, sender, b"\xff", good),
        }
        for name in inbound_webhooks.HEADERS:
            reported.add(await self.refused(harness, sender, body, {key: good[key] for key in good if key != name}))
        for signature in GARBAGE:
            headers: Any = {**good, "webhook-signature": signature.encode()}
            reported.add(await self.refused(harness, sender, body, headers))
        for timestamp in ("", "nan", "inf", "-1", "soon", "9" * 400):
            reported.add(await self.refused(harness, sender, body, {**good, "webhook-timestamp": timestamp}))
        assert len(reported) == 1

    @pytest.mark.parametrize("minutes", [-6, 6])
    async def test_of_another_time_is_refused(
        self, harness: WorkerHarness, sender: Sender, secret: str, minutes: int
    ) -> None:
        [job_id] = await running(harness, 1)
        body = event(await upstream_id(harness, job_id))
        at = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)
        await self.refused(harness, sender, body, signed(secret, body, at=at))

    async def test_by_another_account_reaches_no_job_of_this_one(
        self, harness: WorkerHarness, upstream_api: UpstreamApi, sender: Sender, secret: str, second: FaultyUpstream
    ) -> None:
        [job_id] = await running(harness, 1)
        theirs = new_secret()
        answer = await upstream_api.mine.post("/upstreams", json=account(second.base_url, webhook_secret=theirs))
        other_id = answer.json()["id"]
        body = event(await upstream_id(harness, job_id))
        await self.refused(harness, sender, body, signed(theirs, body))
        await self.refused(harness, sender, body, signed(secret, body), account_id=other_id)
        assert (await sender.send(body, signed(theirs, body), account_id=other_id)).status_code == 200
        assert await due(harness) == set()

    async def test_too_large_is_not_read(self, harness: WorkerHarness, sender: Sender, secret: str) -> None:
        body = event("x" * inbound_webhooks.MAX_BODY_BYTES)
        answer = await sender.send(body, signed(secret, body))
        assert answer.status_code == 413
        assert await notices(harness) == 0

    async def test_many_are_slowed_down(self, harness: WorkerHarness, sender: Sender, secret: str) -> None:
        max_failures = harness.ctx.settings.failed_keys_per_minute
        statuses: list[int] = []
        while 429 not in statuses and len(statuses) < 2 * max_failures + 2:  # the minute may end on the way
            answer = await sender.send(b"{}", signed(new_secret(), b"{}"))
            statuses.append(answer.status_code)
        assert statuses == [401] * (len(statuses) - 1) + [429]
        assert len(statuses) > max_failures
        [job_id] = await running(harness, 1)
        body = event(await upstream_id(harness, job_id))
        assert (await sender.send(body, signed(secret, body))).status_code == 200, "a valid one is never refused"
        assert await due(harness) == {job_id}
        unknown = await sender.send(b"{}", signed(new_secret(), b"{}"), account_id="upstream_none")
        assert unknown.status_code == 401, "accounts are counted apart"

    async def test_many_at_a_time_use_few_connections(
        self, harness: WorkerHarness, sender: Sender, secret: str
    ) -> None:
        checks = InboundChecks(harness.ctx.db, sealer_of(harness.ctx.settings))
        connections, body = Connections(harness.ctx.db), b"{}"
        ids = [*(f"upstream_{number}" for number in range(200)), "\0", "é", "x" * 1000, sender.account_id]
        signatures = [signature_headers(signed(secret, body)) for _ in ids]

        async def check(number: int) -> None:
            await asyncio.sleep(number / 1000)  # one after the other, faster than a query ends
            await checks.check(ids[number], signatures[number], body)

        outcomes = await asyncio.gather(*(check(number) for number in range(len(ids))), return_exceptions=True)
        assert outcomes[-1] is None
        assert {type(outcome) for outcome in outcomes[:-1]} == {Unauthenticated}
        assert connections.max <= MAX_QUERIES


class TestTooManyValidOnes:
    @pytest.fixture
    def step_settings(self, step_settings: Settings) -> Settings:
        """Few requests a minute."""
        return dataclasses.replace(step_settings, requests_per_minute=3)

    async def test_are_limited_for_each_account(
        self, harness: WorkerHarness, upstream_api: UpstreamApi, sender: Sender, secret: str, second: FaultyUpstream
    ) -> None:
        answers = [await sender.send(b"{}", signed(secret, b"{}")) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200] * 3 + [429]
        assert "TUNEGATE_REQUESTS_PER_MINUTE" in answers[-1].json()["error"]["message"]
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert await notices(harness) == 3
        theirs = new_secret()
        made = await upstream_api.mine.post("/upstreams", json=account(second.base_url, webhook_secret=theirs))
        other = await sender.send(b"{}", signed(theirs, b"{}"), account_id=made.json()["id"])
        assert other.status_code == 200

    async def test_wait_for_a_place_and_not_all_of_an_account_s(self, harness: WorkerHarness) -> None:
        checks = InboundChecks(harness.ctx.db, sealer_of(harness.ctx.settings))
        async with AsyncExitStack() as occupied:
            for _ in range(inbound_checks.STORING // 2):
                await occupied.enter_async_context(checks.place("greedy"))
            waiting = asyncio.create_task(occupied.enter_async_context(checks.place("greedy")))
            async with checks.place("other"):
                for _ in range(10):
                    await asyncio.sleep(0)
                assert not waiting.done()
        await waiting

    async def test_that_wait_have_a_maximum_for_each_account(
        self, harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inbound_checks, "MAX_WAITING", 3)
        checks = InboundChecks(harness.ctx.db, sealer_of(harness.ctx.settings))
        end = asyncio.Event()

        async def store() -> None:
            async with checks.place("ups_a"):
                await end.wait()

        storing = [asyncio.create_task(store()) for _ in range(inbound_checks.STORING // 2 + 3)]
        await asyncio.sleep(0)
        with pytest.raises(RateLimited, match="More than 3 webhooks"):
            async with asyncio.timeout(60), checks.place("ups_a"):
                pass
        async with asyncio.timeout(60), checks.place("ups_b"):
            pass
        end.set()
        await asyncio.gather(*storing)


class TestTheSecret:
    async def test_is_sealed_and_never_shown(
        self, harness: WorkerHarness, upstream_api: UpstreamApi, sender: Sender, secret: str, second: FaultyUpstream
    ) -> None:
        own = await upstream_api.mine.post("/upstreams", json=account(second.base_url, webhook_secret=secret))
        shown = (await upstream_api.mine.get(f"/upstreams/{own.json()['id']}")).text
        async with harness.ctx.db.admin() as session:
            sealed = (await session.scalars(select(UpstreamAccount.webhook_secret_sealed))).all()
            audit = [str(row.detail) for row in (await session.scalars(select(AuditLog))).all()]
        assert len(set(sealed)) == 2
        for reported in (own.text, shown, str(sealed), *audit):
            assert secret not in reported
            assert secret.removeprefix("whsec_") not in reported
        assert any("'webhook_secret': 'set'" in reported for reported in audit)

    async def test_can_be_taken_away(
        self, harness: WorkerHarness, upstream_api: UpstreamApi, sender: Sender, secret: str
    ) -> None:
        answer = await upstream_api.admin.post("/organization/upstreams/default", json={"webhook_secret": None})
        assert answer.json()["webhook_secret"] is None
        assert (await sender.send(b"{}", signed(secret, b"{}"))).status_code == 401

    @pytest.mark.parametrize(
        "wrong", ["", "whsec_", "whsec_short", "secret", "whsec_" + "!" * 40, "whsec_" + "A" * 200]
    )
    async def test_has_a_form(self, upstream_api: UpstreamApi, wrong: str) -> None:
        answer = await upstream_api.admin.post("/organization/upstreams/default", json={"webhook_secret": wrong})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "webhook_secret")

    async def test_control_without_the_memory_a_replay_counts_again(
        self, harness: WorkerHarness, sender: Sender, secret: str
    ) -> None:
        [job_id] = await running(harness, 1)
        body = event(await upstream_id(harness, job_id))
        headers = signed(secret, body)
        await sender.send(body, headers)
        async with harness.ctx.db.admin() as session:
            await session.execute(update(UpstreamWebhook).values(webhook_id="forgotten"))
            later = func.now() + dt.timedelta(hours=1)
            await session.execute(update(Job).where(Job.id == job_id).values(due_at=later))
        await sender.send(body, headers)
        assert await due(harness) == {job_id}
