"""`/v1/upstreams` and `/v1/organization/upstreams`: made, shown, changed and taken away, by those who may."""

import dataclasses
from typing import Any

import pytest
from sqlalchemy import text

from service.database.encryption import sealer_of
from service.database.engine import create_engine
from service.database.tables import UpstreamAccount
from service.monitoring import shared_metrics
from service.upstreams.accounts import Accounts
from service.upstreams.adapters.azure import UPSTREAMS
from service.upstreams.metrics import measure
from service.upstreams.port import UpstreamError
from tests.faults.control import FaultyUpstream, error
from tests.upstreams.azure_program import KEY
from tests.upstreams.conftest import CREDENTIAL, UpstreamApi, account, add_account
from tests.workers.harness import WorkerHarness

CHECK = "GET /v1/models"


async def made(upstream_api: UpstreamApi, second: FaultyUpstream, **changes: Any) -> dict[str, Any]:
    """An account of the first project."""
    answer = await upstream_api.mine.post("/upstreams", json=account(second.base_url, **changes))
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


class TestCreate:
    async def test_it_is_shown_without_its_credential(self, upstream_api: UpstreamApi, second: FaultyUpstream) -> None:
        answer = await upstream_api.admin.post(
            "/organization/upstreams", json=account(second.base_url, models=["gpt-4o*"], billed=False)
        )
        shown = answer.json()
        assert answer.status_code == 200
        assert CREDENTIAL not in answer.text
        assert (shown["credential"], shown["models"], shown["billed"]) == ("stored", ["gpt-4o*"], False)
        assert (shown["health"]["status"], shown["project_id"], shown["active_jobs"]) == ("ok", None, 0)
        assert (await upstream_api.admin.get(f"/organization/upstreams/{shown['id']}")).json() == shown
        listed = (await upstream_api.admin.get("/organization/upstreams")).json()["data"]
        assert [each["id"] for each in listed] == [shown["id"], "default"]
        assert second.seen(CHECK)

    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_wrong_credential_is_refused(
        self, upstream_api: UpstreamApi, second: FaultyUpstream, status: int
    ) -> None:
        second.fault(CHECK, error(status), times=0)
        answer = await upstream_api.admin.post("/organization/upstreams", json=account(second.base_url))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "upstream_credential_refused")
        assert len((await upstream_api.admin.get("/organization/upstreams")).json()["data"]) == 1

    @pytest.mark.parametrize("answer", ["reset", "cut", error(500)], ids=["reset", "cut", "500"])
    async def test_an_unavailable_one_is_stored_and_shown_so(
        self, upstream_api: UpstreamApi, second: FaultyUpstream, answer: Any
    ) -> None:
        second.fault(CHECK, answer, times=0)
        shown = await made(upstream_api, second)
        assert (shown["health"]["status"], shown["health"]["last_error"]) == ("failing", "away")

    @pytest.mark.parametrize(
        ("changes", "param", "code"),
        [
            ({"base_url": "ftp://example.com"}, "base_url", "invalid_upstream_url"),
            ({"base_url": "https://user:pw@example.com/v1"}, "base_url", "invalid_upstream_url"),
            ({"base_url": "https://example.com/v1?key=1"}, "base_url", "invalid_upstream_url"),
            ({"base_url": "http://example.com/v1"}, "base_url", "invalid_upstream_url"),
            ({"base_url": "https://10.0.0.1/v1"}, "base_url", "forbidden_upstream_target"),
            ({"base_url": "https://169.254.169.254/v1"}, "base_url", "forbidden_upstream_target"),
            ({"base_url": "https://[::ffff:10.0.0.1]/v1"}, "base_url", "forbidden_upstream_target"),
            ({"kind": "azure", "base_url": "https://x.example.com/openai"}, "base_url", "invalid_upstream_url"),
            ({"credential": "with space in it"}, "credential", "invalid_value"),
            ({"credential": "line\nbreak-0123"}, "credential", "invalid_value"),
            ({"credential": "short"}, "credential", "invalid_value"),
            ({"models": []}, "models", "invalid_value"),
            ({"methods": ["sft"]}, "methods[0]", "invalid_value"),
            ({"max_active_jobs": 0}, "max_active_jobs", "invalid_value"),
            ({"billed": False}, "billed", "unknown_parameter"),
            ({"api_version": "2024-10-21"}, "api_version", "conflicting_parameters"),
        ],
    )
    async def test_what_breaks_a_rule_is_named(
        self, upstream_api: UpstreamApi, changes: dict[str, Any], param: str, code: str
    ) -> None:
        answer = await upstream_api.mine.post("/upstreams", json=account("https://upstream.example.com/v1", **changes))
        refused = answer.json()["error"]
        assert (answer.status_code, refused["code"]) == (400, code), refused
        assert refused["param"] == param or param.startswith("methods")
        assert str(changes.get("credential", CREDENTIAL)) not in answer.text

    async def test_ourselves_are_refused(self, upstream_api: UpstreamApi) -> None:
        for base_url in (upstream_api.base_url, upstream_api.base_url.replace("127.0.0.1", "localhost")):
            answer = await upstream_api.admin.post("/organization/upstreams", json=account(base_url))
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_upstream_url")

    async def test_a_name_is_given_once_in_a_project(self, upstream_api: UpstreamApi, second: FaultyUpstream) -> None:
        await made(upstream_api, second)
        again = await upstream_api.mine.post("/upstreams", json=account(second.base_url))
        assert (again.status_code, again.json()["error"]["code"]) == (409, "upstream_name_taken")
        assert again.headers["x-should-retry"] == "false"
        assert (await upstream_api.other.post("/upstreams", json=account(second.base_url))).status_code == 200
        taken = await upstream_api.admin.post("/organization/upstreams", json=account(second.base_url, name="default"))
        assert taken.status_code == 409

    async def test_a_repeated_request_makes_one(self, upstream_api: UpstreamApi, second: FaultyUpstream) -> None:
        headers = {"idempotency-key": "once"}
        answers = [
            await upstream_api.mine.post("/upstreams", json=account(second.base_url), headers=headers) for _ in range(2)
        ]
        assert answers[0].json() == answers[1].json()
        assert len((await upstream_api.mine.get("/upstreams")).json()["data"]) == 1

    async def test_azure(self, upstream_api: UpstreamApi, azure: FaultyUpstream) -> None:
        body = account(azure.base_url, kind="azure", credential=KEY, deployments={"gpt-4o-mini": "base-deployment"})
        shown = (await upstream_api.mine.post("/upstreams", json=body)).json()
        assert (shown["api_version"], shown["provider"], shown["health"]["status"]) == ("2024-10-21", "azure", "ok")
        question = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "?"}]}
        answer = (await upstream_api.mine.post("/chat/completions", json=question)).json()
        assert (answer["model"], answer["choices"][0]["message"]["content"]) == ("gpt-4o-mini", "from base-deployment")


class TestUpdate:
    async def test_drain_and_resume(self, upstream_api: UpstreamApi, second: FaultyUpstream) -> None:
        path = f"/upstreams/{(await made(upstream_api, second))['id']}"
        assert (await upstream_api.mine.post(path, json={"drained": True})).json()["drained"] is True
        assert (await upstream_api.mine.post(path, json={"drained": False})).json()["drained"] is False

    async def test_a_new_credential_is_checked_and_ends_a_hold(
        self, upstream_api: UpstreamApi, harness: WorkerHarness, second: FaultyUpstream
    ) -> None:
        shown = await made(upstream_api, second)
        path = f"/upstreams/{shown['id']}"
        await self.cool_down(harness, shown["id"])
        assert (await upstream_api.mine.get(path)).json()["health"]["held_reason"] == "because"
        second.fault(CHECK, error(401))
        refused = await upstream_api.mine.post(path, json={"credential": "sk-another-0123456789"})
        assert refused.json()["error"]["code"] == "upstream_credential_refused"
        changed = await upstream_api.mine.post(path, json={"credential": "sk-another-0123456789"})
        assert changed.json()["health"]["held_until"] is None
        upstream = await harness.ctx.accounts.get(shown["id"])
        await upstream.check()

    async def test_a_hold_is_measured_and_can_be_ended(
        self, upstream_api: UpstreamApi, harness: WorkerHarness, second: FaultyUpstream
    ) -> None:
        shown = await made(upstream_api, second)
        await self.cool_down(harness, shown["id"])
        scraped = shared_metrics.text(await measure(harness.ctx.db)).decode()
        assert f'tunegate_upstream_cooling_down{{account="{shown["id"]}"}} 1.0' in scraped
        answer = await upstream_api.admin.post(f"/organization/upstreams/{shown['id']}", json={"held": False})
        assert answer.json()["health"]["held_until"] is None

    async def test_a_stored_credential_is_not_sent_elsewhere(
        self, upstream_api: UpstreamApi, second: FaultyUpstream
    ) -> None:
        path = f"/upstreams/{(await made(upstream_api, second))['id']}"
        answer = await upstream_api.mine.post(path, json={"base_url": "https://elsewhere.example.com/v1"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "credential")

    async def test_the_address_stays_while_jobs_run_there(
        self, upstream_api: UpstreamApi, harness: WorkerHarness, second: FaultyUpstream
    ) -> None:
        second.steps("running")
        path = f"/upstreams/{(await made(upstream_api, second))['id']}"
        await harness.until(await harness.new_job(), "running")
        moved = {"base_url": second.base_url + "/elsewhere", "credential": CREDENTIAL}
        answer = await upstream_api.mine.post(path, json=moved)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "upstream_in_use")

    async def test_the_environment_s_account_keeps_what_it_is_made_of(self, upstream_api: UpstreamApi) -> None:
        path = "/organization/upstreams/default"
        for change in ({"credential": CREDENTIAL}, {"name": "x"}):
            answer = await upstream_api.admin.post(path, json=change)
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "upstream_from_environment")
        assert (await upstream_api.admin.post(path, json={"max_active_jobs": 3})).json()["max_active_jobs"] == 3
        assert (await upstream_api.admin.delete(path)).status_code == 409

    async def cool_down(self, harness: WorkerHarness, account_id: str) -> None:
        async with harness.ctx.db.admin() as session:
            row = await session.get_one(UpstreamAccount, account_id)
            row.cool_down_until, row.cool_down_reason = row.created_at.replace(year=2100), "because"


class TestDelete:
    async def test_it_forgets_the_credential(
        self, upstream_api: UpstreamApi, harness: WorkerHarness, second: FaultyUpstream
    ) -> None:
        shown = await made(upstream_api, second)
        path = f"/upstreams/{shown['id']}"
        assert (await upstream_api.mine.delete(path)).json()["deleted"] is True
        assert (await upstream_api.mine.get(path)).status_code == 404
        async with harness.ctx.db.admin() as session:
            row = await session.get_one(UpstreamAccount, shown["id"])
        assert row.credential_sealed is None
        await made(upstream_api, second)

    async def test_not_while_jobs_or_models_need_it(
        self, upstream_api: UpstreamApi, harness: WorkerHarness, second: FaultyUpstream
    ) -> None:
        path = f"/upstreams/{(await made(upstream_api, second))['id']}"
        job_id = await harness.new_job()
        await harness.until(job_id, "running")
        for _ in range(2):
            answer = await upstream_api.mine.delete(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "upstream_in_use")
            job = await harness.until_end(job_id)
        assert (await upstream_api.mine.delete(f"/models/{job.fine_tuned_model}")).status_code == 200
        assert (await upstream_api.mine.delete(path)).status_code == 200


class TestWhoMay:
    async def test_a_project_sees_its_own_only(
        self, upstream_api: UpstreamApi, harness: WorkerHarness, second: FaultyUpstream
    ) -> None:
        shown = await made(upstream_api, second)
        shared = await add_account(harness, second.base_url)
        assert [each["id"] for each in (await upstream_api.mine.get("/upstreams")).json()["data"]] == [shown["id"]]
        assert (await upstream_api.other.get("/upstreams")).json()["data"] == []
        for account_id in (shown["id"], shared, "default", "upstream_none"):
            path = f"/upstreams/{account_id}"
            answers = [
                await upstream_api.other.get(path),
                await upstream_api.other.post(path, json={"drained": True}),
                await upstream_api.other.delete(path),
            ]
            assert [answer.status_code for answer in answers] == [404, 404, 404]
        assert (await upstream_api.mine.get("/organization/upstreams")).status_code == 403
        assert (await upstream_api.admin.get("/upstreams")).status_code == 403

    async def test_inference_of_a_base_model_prefers_the_project_s_own(
        self, upstream_api: UpstreamApi, harness: WorkerHarness, second: FaultyUpstream
    ) -> None:
        await made(upstream_api, second)
        question = {"model": "gpt-4o-mini", "messages": []}
        await upstream_api.mine.post("/chat/completions", json=question)
        await upstream_api.other.post("/chat/completions", json=question)
        asked = "POST /v1/chat/completions"
        assert (len(second.seen(asked)), len(harness.upstream.seen(asked))) == (1, 1)

    async def test_a_row_of_a_project_refers_to_no_account_of_another(
        self,
        upstream_api: UpstreamApi,
        harness: WorkerHarness,
        other_project: WorkerHarness,
        second: FaultyUpstream,
        owner_url: str,
    ) -> None:
        """A guard in the database: foreign keys are checked past row-level security."""
        foreign = await add_account(harness, second.base_url, own=True)
        job_id = await other_project.new_job()
        engine = create_engine(owner_url, pool_size=1, role=None)
        for column in ("account_id", "requested_account_id"):
            with pytest.raises(Exception, match="is not for project"):
                async with engine.begin() as connection:
                    change = text(f"UPDATE jobs SET {column} = :account WHERE id = :job")
                    await connection.execute(change, {"account": foreign, "job": job_id})
        await engine.dispose()

    async def test_a_timeline_tells_the_account(
        self, upstream_api: UpstreamApi, harness: WorkerHarness, second: FaultyUpstream
    ) -> None:
        shown = await made(upstream_api, second)
        job_id = await harness.new_job()
        await harness.until(job_id, "uploading")
        timeline = (await upstream_api.mine.get(f"/fine_tuning/jobs/{job_id}/timeline")).json()
        assert timeline["upstream_account"] == shown["id"]


async def test_an_address_is_checked_when_it_is_dialled(
    upstream_api: UpstreamApi, harness: WorkerHarness, second: FaultyUpstream
) -> None:
    """A project's account that leads inward is not called, however it came to: the check is at the socket."""
    shown = await made(upstream_api, second)
    before = len(second.seen(CHECK))
    for allowed in (False, True):
        settings = dataclasses.replace(harness.ctx.settings, upstream_allow_private=allowed)
        accounts = Accounts(settings, harness.ctx.db, sealer_of(settings), UPSTREAMS)
        upstream = await accounts.get(shown["id"])
        if allowed:
            await upstream.check()
        else:
            with pytest.raises(UpstreamError) as refused:
                await upstream.check()
            assert refused.value.kind == "away"
        await accounts.close()
        assert len(second.seen(CHECK)) == before + allowed
