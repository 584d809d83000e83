"""A credential is used and nowhere to be seen: not in answers, logs, errors, rows, Redis or reprs."""

import base64
import dataclasses
import json
import os
import sys
import traceback
from typing import Any

import pytest
import redis
import structlog
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text, update

from service.database.encryption import DecryptionFailed, Sealer, sealer_of
from service.database.engine import create_engine
from service.database.tables import Base, RememberedRequest, UpstreamAccount, WebhookEndpoint
from service.http.idempotency import sealed_for
from service.ids import new_id
from service.key_rotation import SEALED_COLUMNS, reseal
from service.settings import Settings
from service.upstreams.adapters.client import Connection
from service.upstreams.adapters.redaction import redacted
from service.upstreams.credentials import open_credential
from service.upstreams.port import JobRequest, UpstreamError
from service.upstreams.schemas import CreateSharedUpstream, UpdateUpstream
from service.webhooks.secrets import active_secrets, seal_secret
from tests.faults.control import CREATE, EVENTS, RETRIEVE, UPLOAD, FaultyUpstream
from tests.upstreams.conftest import CREDENTIAL, UpstreamApi, account
from tests.workers.harness import WorkerHarness, open_harness
from workers.maintenance import orphaned_upstream_jobs


def says(status: int) -> dict[str, Any]:
    """An upstream's error that repeats the key, as some do."""
    repeated = {"message": f"Incorrect API key provided: {CREDENTIAL}", "code": CREDENTIAL, "param": CREDENTIAL}
    return {"status": status, "body": {"error": {**repeated, "type": "error"}}, "headers": {"x-key": CREDENTIAL}}


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every line that our modules log, tracebacks included."""
    lines: list[str] = []

    def keep(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        lines.append(repr(event))
        return event

    processors: list[Any] = [structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info, keep]
    for name, module in list(sys.modules.items()):
        if name.startswith(("service.", "workers.")) and hasattr(module, "log"):
            listened = structlog.wrap_logger(structlog.ReturnLogger(), processors=[*processors, _as_arguments])
            monkeypatch.setattr(module, "log", listened)
    return lines


def _as_arguments(_: object, __: str, event: structlog.typing.EventDict) -> str:
    return repr(event)


class TestNowhere:
    async def test_after_failures_of_every_kind(
        self,
        upstream_api: UpstreamApi,
        harness: WorkerHarness,
        second: FaultyUpstream,
        owner_url: str,
        logs: list[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        reported: list[str] = []

        async def call(method: str, path: str, **body: Any) -> Any:
            client = upstream_api.admin if path.startswith("/organization") else upstream_api.mine
            answer = await client.request(method, path, json=body or None)
            reported.append(answer.text + str(answer.headers))
            return answer.json()

        for fault in (says(401), says(500), says(429), "reset", "cut", {"status": 200, "body": CREDENTIAL}):
            second.fault("GET /v1/models", fault)
            await call("POST", "/organization/upstreams", **account(second.base_url, name=new_id("name-")))
        await call("POST", "/upstreams", **account(second.base_url, unknown=CREDENTIAL))
        await call("POST", "/upstreams", **account(second.base_url, name=[CREDENTIAL]))
        await call("POST", "/upstreams", **account(second.base_url, base_url=f"https://{CREDENTIAL}@x.example.com"))
        shown = await call("POST", "/upstreams", **account(second.base_url))
        await call("POST", "/upstreams", **account(second.base_url))
        await call("POST", f"/upstreams/{shown['id']}", credential=CREDENTIAL, drained=False)
        for path in ("/upstreams", f"/upstreams/{shown['id']}", "/organization/upstreams", "/organization/audit_logs"):
            await call("GET", path)
        for status in (400, 401, 404, 429, 500):
            for stream in (False, True):
                second.fault("POST /v1/chat/completions", says(status))
                await call("POST", "/chat/completions", model="gpt-4o-mini", messages=[], stream=stream)
        jobs = []
        for match, status in ((UPLOAD, 400), (UPLOAD, 401), (CREATE, 400), (CREATE, 401), (CREATE, 500), (EVENTS, 500)):
            second.fault(match, says(status))
            jobs.append(await harness.new_job(training=await harness.new_file()))
            await harness.steps(jobs[-1], 6)
            await harness.end_cool_down()
        second.fault(RETRIEVE, says(403))
        job_id = await harness.new_job()
        for _ in range(8):
            await harness.step(job_id)
            await harness.end_cool_down()
        second.put_job(
            metadata=second.jobs()[-1]["metadata"],
            _events=[{"id": "ftevent-1", "level": "info", "type": "message", "message": CREDENTIAL, "data": {}}],
        )
        await orphaned_upstream_jobs.cancel_orphaned_jobs(harness.ctx)
        for each in (*jobs, job_id):
            await call("GET", f"/fine_tuning/jobs/{each}")
            await call("GET", f"/fine_tuning/jobs/{each}/timeline")
            await call("GET", f"/fine_tuning/jobs/{each}/events")
        said = "".join(logs) + caplog.text
        assert len(reported) > 40
        assert CREDENTIAL not in "".join(reported)
        assert CREDENTIAL not in said
        assert "account.cooled_down" in said, "the logs were not looked at"
        assert await _found_in(owner_url, CREDENTIAL) == []

    async def test_nor_in_redis(
        self, step_settings: Settings, upstream: FaultyUpstream, second: FaultyUpstream, redis_url: str
    ) -> None:
        async with open_harness(dataclasses.replace(step_settings, redis_url=redis_url), upstream) as opened:
            from tests.upstreams.conftest import add_account

            await add_account(opened, second.base_url, own=True)
            await opened.until_end(await opened.new_job())
        with redis.Redis.from_url(redis_url) as connection:
            kept = [connection.dump(key) for key in connection.scan_iter()]
        assert kept
        assert CREDENTIAL.encode() not in b"".join(each for each in kept if each)

    async def test_nor_in_exceptions_and_reprs(self, harness: WorkerHarness, second: FaultyUpstream) -> None:
        from tests.upstreams.conftest import add_account

        upstream = await harness.ctx.accounts.get(await add_account(harness, second.base_url))
        order = JobRequest(
            model="m", training_file="f", validation_file=None, suffix=None, seed=1, method={}, integrations=None,
            metadata={},
        )  # fmt: skip
        said = [repr(upstream), str(vars(upstream).keys())]
        for fault in (says(400), says(401), says(500), "reset", "cut"):
            second.fault(".*", fault, times=2)
            said.append(repr(await upstream.create_job(order)))
            try:
                await upstream.get_job("ftjob-1")
            except UpstreamError as error:
                said.append("".join(traceback.format_exception(error)) + repr(error.__cause__))
        body = CreateSharedUpstream(name="n", kind="openai", base_url="https://x.example.com", credential=CREDENTIAL)
        connection = Connection(
            account_id="a", kind="openai", provider="p", base_url="b", api_key=CREDENTIAL, control_timeout=1,
            upload_timeout=1, inference_timeout=1,
 max_answer_bytes=1 << 20,
        )  # fmt: skip
        said += [repr(body), repr(UpdateUpstream(credential=CREDENTIAL)), repr(connection), repr(harness.ctx)]
        assert len(said) == 16
        assert CREDENTIAL not in "".join(said)


class TestRedaction:
    @given(
        st.recursive(st.text() | st.just(CREDENTIAL), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
    )
    def test_no_depth_hides_it(self, value: Any) -> None:
        assert CREDENTIAL not in json.dumps(redacted(value, CREDENTIAL), ensure_ascii=False)

    def test_the_rest_stays(self) -> None:
        assert redacted({"a": ["b", 1, None], "c": 2.5}, CREDENTIAL) == {"a": ["b", 1, None], "c": 2.5}


class TestRotation:
    def keys(self) -> tuple[str, str]:
        """Two master keys."""
        old, new = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
        return old, new

    def test_an_old_key_opens_and_the_new_one_seals(self) -> None:
        old, new = os.urandom(32), os.urandom(32)
        before = Sealer(old).seal(b"secret", context="row:1")
        both = Sealer(new, old_keys=[old])
        assert both.open(before, context="row:1") == b"secret"
        assert not both.is_current(before, context="row:1")
        after = both.seal(b"secret", context="row:1")
        assert Sealer(new).open(after, context="row:1") == b"secret"
        with pytest.raises(DecryptionFailed):
            Sealer(old).open(after, context="row:1")
        with pytest.raises(DecryptionFailed):
            both.open(after, context="row:2")

    async def test_everything_that_is_sealed_is_sealed_anew(self, harness: WorkerHarness, owner_url: str) -> None:
        settings = harness.ctx.settings
        old, new = self.keys()
        before = sealer_of(dataclasses.replace(settings, master_key=old))
        ids = {"account": new_id("upstream_"), "endpoint": new_id("we_"), "request": new_id("req_")}
        route = "POST /v1/webhook_endpoints"
        async with harness.ctx.db.admin() as session:
            session.add_all(
                [
                    UpstreamAccount(
                        id=ids["account"],
                        kind="openai",
                        base_url="https://x.example.com",
                        credential_sealed=before.seal(
                            CREDENTIAL.encode(), context=f"upstream_account:{ids['account']}"
                        ),
                    ),
                    WebhookEndpoint(
                        id=ids["endpoint"],
                        project_id=harness.project_id,
                        name="e",
                        url="https://x.example.com",
                        event_types=[],
                        secret_encrypted=seal_secret(before, ids["endpoint"], "whsec_now"),
                        old_secret_encrypted=seal_secret(before, ids["endpoint"], "whsec_before"),
                        secret_hint="x",
                    ),
                    RememberedRequest(
                        id=ids["request"],
                        project_id=harness.project_id,
                        key_id="key_1",
                        route=route,
                        body_sha256=b"x",
                        retry_count=0,
                        response=before.seal(b"{}", context=sealed_for(harness.project_id, route)),
                    ),
                ]
            )
        both = sealer_of(dataclasses.replace(settings, master_key=new, old_master_keys=f"{old}, "))
        assert await reseal(harness.ctx.db, both) == 4
        assert await reseal(harness.ctx.db, both) == 0
        after = sealer_of(dataclasses.replace(settings, master_key=new))
        async with harness.ctx.db.admin() as session:
            row = await session.get_one(UpstreamAccount, ids["account"])
            endpoint = await session.get_one(WebhookEndpoint, ids["endpoint"])
            assert open_credential(after, row) == CREDENTIAL
            assert active_secrets(after, endpoint, now=endpoint.created_at) == ["whsec_now"]
            request = await session.get_one(RememberedRequest, ids["request"])
            assert after.open(request.response, context=sealed_for(harness.project_id, route)) == b"{}"
            await session.execute(update(UpstreamAccount).values(credential_sealed=b"\x01" + bytes(50)))
        with pytest.raises(DecryptionFailed):
            await reseal(harness.ctx.db, both)

    def test_the_list_of_places_has_every_sealed_column(self) -> None:
        """A new column of sealed bytes fails here until it is resealed too."""
        named = {
            (table.name, column.name)
            for table in Base.metadata.sorted_tables
            for column in table.columns
            if column.name.endswith(("_sealed", "_encrypted"))
        }
        listed = {(place.table.__tablename__, place.column) for place in SEALED_COLUMNS}
        assert named | {("remembered_requests", "response")} == listed

    def test_settings_refuse_a_malformed_old_key(self) -> None:
        with pytest.raises(Exception, match="TUNEGATE_OLD_MASTER_KEYS"):
            Settings.from_env({"TUNEGATE_OLD_MASTER_KEYS": "short"})


async def _found_in(owner_url: str, secret: str) -> list[str]:
    """The tables of the whole database in which the secret stands, as text or as bytes."""
    engine = create_engine(owner_url, pool_size=1, role=None)
    found = []
    async with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            rows = (await connection.execute(text(f"SELECT row_to_json(t)::text FROM {table.name} t"))).scalars().all()
            everything = "".join(rows)
            if secret in everything or secret.encode().hex() in everything:
                found.append(table.name)
        sealed = (await connection.execute(select(UpstreamAccount.credential_sealed))).scalars().all()
        assert any(sealed), "there was nothing to find"
    await engine.dispose()
    return found
