"""Many administrators at once, through two processes: nobody gets two of one, and nobody locks everybody out."""

import asyncio
import datetime as dt

import pytest
from sqlalchemy import func, select, update

from service.database.engine import Database, create_engine
from service.database.tables import ApiKey, RememberedRequest
from service.errors import Conflict
from service.identity import actions, audit
from service.identity.bootstrap import create_key
from service.identity.key_lookup import is_valid
from service.settings import Settings
from service.wakeups import Wakeups
from tests.identity.fixtures import Processes
from tests.wire import refusal


async def test_one_idempotency_key_makes_one_service_account_and_one_secret(processes: Processes) -> None:
    async with processes.http(0) as one, processes.http(1) as other:
        project = (await one.post("/organization/projects", json={"name": "geo"})).json()["id"]
        path, headers = f"/organization/projects/{project}/service_accounts", {"idempotency-key": "k"}
        answers = await asyncio.gather(
            *(http.post(path, json={"name": "ci"}, headers=headers) for http in (one, other) * 5)
        )
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        assert len((await one.get(path)).json()["data"]) == 1
        logs = await one.get("/organization/audit_logs", params={"project_ids[]": project})
        assert sorted(entry["type"] for entry in logs.json()["data"]) == [
            "api_key.created",
            "project.created",
            "service_account.created",
        ]
        again = await one.post(path, json={"name": "other"}, headers=headers)
        assert (again.status_code, refusal(again)["code"]) == (422, "idempotency_key_reused")
    assert answers[0].json()["api_key"]["value"].encode() not in await _stored_answers(processes)


async def test_a_retried_create_without_a_key_gets_the_first_one_s_answer(processes: Processes) -> None:
    async with processes.http(0) as one, processes.http(1) as other:
        first = await one.post("/organization/projects", json={"name": "retried"})
        retried = await other.post(
            "/organization/projects", json={"name": "retried"}, headers={"x-stainless-retry-count": "1"}
        )
    assert first.content == retried.content


async def test_parallel_creates_are_all_there(processes: Processes) -> None:
    async with processes.http(0) as one, processes.http(1) as other:
        project = (await one.post("/organization/projects", json={"name": "many"})).json()["id"]
        path = f"/organization/projects/{project}/service_accounts"
        made = await asyncio.gather(
            *(http.post(path, json={"name": f"ci {number}"}) for number, http in enumerate((one, other) * 12))
        )
        ids = {answer.json()["id"] for answer in made}
        assert len(ids) == 24
        assert {row["id"] for row in (await one.get(path, params={"limit": 100})).json()["data"]} == ids
        keys = (await one.get(f"/organization/projects/{project}/api_keys", params={"limit": 100})).json()["data"]
        assert {key["owner"]["service_account"]["id"] for key in keys} == ids


async def test_two_admin_keys_cannot_delete_each_other(settings: Settings) -> None:
    """The second deletion would leave no administrator; read-only and expired keys do not count."""
    await create_key(settings, kind="admin", name="reads", scopes=["api.all.read"])
    for name in ("one", "other", "expired"):
        await create_key(settings, kind="admin", name=name)
    db = Database(create_engine(settings.database_url, pool_size=3), Wakeups(""))
    async with db.admin() as session:
        ids = {row.name: row.id for row in await session.execute(select(ApiKey.name, ApiKey.id))}
        past = func.now() - dt.timedelta(seconds=1)
        await session.execute(update(ApiKey).where(ApiKey.id == ids["expired"]).values(expires_at=past))

    async def delete(name: str) -> None:
        async with db.admin() as session:
            await actions.delete_admin_key(session, audit.SYSTEM, ids[name])

    async with db.admin() as first:
        await actions.delete_admin_key(first, audit.SYSTEM, ids["one"])
        second = asyncio.create_task(delete("other"))
        await asyncio.sleep(0.5)
        assert not second.done()
    with pytest.raises(Conflict) as refused:
        await second
    assert (refused.value.code, refused.value.should_retry) == ("last_admin_key", False)
    await delete("reads")
    async with db.admin() as session:
        working = (await session.scalars(select(ApiKey.name).where(is_valid()))).all()
    await db.close()
    assert list(working) == ["other"]


async def test_the_last_admin_key_cannot_delete_itself(processes: Processes) -> None:
    async with processes.http(0) as admin:
        (key,) = [
            key
            for key in (await admin.get("/organization/admin_api_keys", params={"limit": 100})).json()["data"]
            if key["name"] == "first"
        ]
        refused = await admin.delete(f"/organization/admin_api_keys/{key['id']}")
        assert (refused.status_code, refusal(refused)["code"]) == (409, "last_admin_key")
        assert refused.headers["x-should-retry"] == "false"
        assert (await admin.get("/organization/projects")).status_code == 200


async def test_archiving_twice_at_once_is_one_change(processes: Processes) -> None:
    async with processes.http(0) as one, processes.http(1) as other:
        project = (await one.post("/organization/projects", json={"name": "old"})).json()["id"]
        path = f"/organization/projects/{project}/archive"
        answers = await asyncio.gather(*(http.post(path) for http in (one, other) * 4))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        params = {"resource_ids[]": project, "event_types[]": "project.archived"}
        assert len((await one.get("/organization/audit_logs", params=params)).json()["data"]) == 1


async def _stored_answers(processes: Processes) -> bytes:
    db = Database(create_engine(processes.settings.database_url, pool_size=1), Wakeups(""))
    async with db.admin() as session:
        stored = (await session.scalars(select(RememberedRequest.response))).all()
    await db.close()
    return b"".join(stored)
