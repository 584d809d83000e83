"""Refused keys: their responses, and their entries in the audit log."""

import asyncio
import dataclasses
import datetime as dt
from typing import Any

import httpx2
import pytest
from sqlalchemy import ColumnElement, func, select, update

from service.app import create_litestar
from service.database.engine import SERVICE_ROLE
from service.database.tables import ApiKey, AuditLog, Refusal
from service.errors import ApiError
from service.http.middleware import RequestMiddleware
from service.identity import refused_requests
from service.identity.audit import Actor
from service.identity.authentication import Authenticator
from service.identity.bootstrap import create_key
from service.identity.keys import new_key
from service.settings import Settings
from tests.http.fixtures import Api
from tests.identity.fixtures import AdminApi, Processes
from tests.wire import refusal


async def new_project(admin_api: AdminApi, **account: Any) -> tuple[str, dict[str, Any]]:
    """A project and a service account in it, as the API answered."""
    async with admin_api.http() as admin:
        project = (await admin.post("/organization/projects", json={"name": "geo"})).json()["id"]
        made = await admin.post(f"/organization/projects/{project}/service_accounts", json={"name": "ci", **account})
    assert made.status_code == 200, made.text
    body: dict[str, Any] = made.json()
    return project, body


async def entries_about(admin_api: AdminApi, key_id: str) -> list[AuditLog]:
    """The audit log's refusals of a key."""
    async with admin_api.db.admin() as session:
        query = select(AuditLog).where(AuditLog.key_id == key_id, AuditLog.type == "login.failed")
        return list(await session.scalars(query.order_by(AuditLog.id)))


class TestTheDoor:
    async def test_a_project_s_key_is_no_admin_key_and_the_reverse(self, api: Api, admin_api: AdminApi) -> None:
        for key, path in ((api.one.key, "/organization/projects"), (admin_api.key, "/files")):
            async with admin_api.http(key) as http:
                for answer in (await http.get(path), await http.post(path, json={"name": "x"})):
                    assert answer.status_code == 403
                    assert refusal(answer)["code"] == "insufficient_permissions"

    async def test_a_mistyped_key_costs_no_look_up_and_leaves_no_entry(self, admin_api: AdminApi) -> None:
        key = new_key("project")
        before = await _count(admin_api, AuditLog)
        for wrong in (key[:-1] + ("a" if key[-1] != "a" else "b"), "sk-nonsense", key + "x"):
            async with admin_api.http(wrong) as http:
                assert refusal(await http.get("/files"))["code"] == "invalid_api_key"
        assert await _count(admin_api, AuditLog) == before

    @pytest.mark.parametrize("how", ["revoked_at", "expires_at"])
    async def test_a_stopped_key_answers_as_an_unknown_one_and_is_distinguished_in_the_log(
        self, admin_api: AdminApi, how: str
    ) -> None:
        _, account = await new_project(admin_api)
        key = account["api_key"]
        async with admin_api.db.admin() as session:
            past = func.now() - dt.timedelta(seconds=1)
            await session.execute(update(ApiKey).where(ApiKey.id == key["id"]).values({how: past}))
        answers = []
        for value in (key["value"], new_key("project")):
            async with admin_api.http(value) as http:
                answers.append((await http.get("/files")).content)
        assert answers[0] == answers[1]
        (entry,) = await entries_about(admin_api, key["id"])
        assert entry.detail["reason"] == ("revoked_key" if how == "revoked_at" else "expired_key")
        assert (entry.ip_address, entry.resource_id) == ("127.0.0.1", key["id"])
        assert entry.request_id is not None

    async def test_a_forwarding_header_says_nothing(self, processes: Processes) -> None:
        spoofed = {"x-forwarded-for": "6.6.6.6", "forwarded": "for=6.6.6.6", "x-real-ip": "6.6.6.6"}
        async with processes.http(0) as admin:
            made = await admin.post("/organization/projects", json={"name": "geo"}, headers=spoofed)
            logs = await admin.get("/organization/audit_logs", params={"resource_ids[]": made.json()["id"]})
        (entry,) = logs.json()["data"]
        assert entry["actor"]["session"]["ip_address"] == "127.0.0.1"

    async def test_a_trusted_proxy_says_who_the_client_is(self, gateway: tuple[Settings, str]) -> None:
        settings = dataclasses.replace(gateway[0], trusted_proxies="127.0.0.1", failed_keys_per_minute=2)
        key = await create_key(settings, kind="admin", name="behind a proxy")
        app = create_litestar(settings)
        serving: Any = RequestMiddleware(app, settings.proxies(), body_idle_seconds=60.0)
        transport = httpx2.ASGITransport(app=serving)
        async with (
            app.lifespan(),
            httpx2.AsyncClient(transport=transport, base_url="http://tunegate/v1") as proxy,
        ):

            async def send(method: str, path: str, key: str, client: str, **more: Any) -> httpx2.Response:
                headers = {"authorization": f"Bearer {key}", "x-forwarded-for": f"6.6.6.6, {client}"}
                return await proxy.request(method, path, headers=headers, **more)

            made = await send("POST", "/organization/projects", key, "198.51.100.7", json={"name": "geo"})
            query = {"resource_ids[]": made.json()["id"]}
            logs = await send("GET", "/organization/audit_logs", key, "198.51.100.7", params=query)
            (entry,) = logs.json()["data"]
            assert entry["actor"]["session"]["ip_address"] == "198.51.100.7"
            statuses = [(await send("GET", "/files", new_key("project"), "198.51.100.8")).status_code for _ in range(3)]
            assert statuses == [401, 401, 429]
            assert (await send("GET", "/files", new_key("project"), "198.51.100.9")).status_code == 401

    async def test_an_account_without_a_role_opens_nothing_until_it_has_one(self, admin_api: AdminApi) -> None:
        project, account = await new_project(admin_api, create_service_account_only=True)
        assert (account["role"], account["api_key"]) == ("none", None)
        path = f"/organization/projects/{project}/service_accounts/{account['id']}"
        async with admin_api.http() as admin:
            key = (await admin.post(f"{path}/api_keys", json={})).json()
            async with admin_api.http(key["value"]) as http:
                answer = await http.get("/files")
                assert (answer.status_code, refusal(answer)["code"]) == (403, "insufficient_permissions")
                shown = (await admin.get(f"/organization/projects/{project}/api_keys/{key['id']}")).json()
                assert shown["owner_project_access"] == "inactive"
                assert (await admin.post(path, json={"role": "owner"})).json()["role"] == "owner"
                await asyncio.sleep(1)  # what the promise allows
                assert (await http.get("/files")).status_code == 200

    async def test_using_a_key_is_seen(self, admin_api: AdminApi) -> None:
        project, account = await new_project(admin_api)
        path = f"/organization/projects/{project}/api_keys/{account['api_key']['id']}"
        async with admin_api.http() as admin, admin_api.http(account["api_key"]["value"]) as http:
            assert (await admin.get(path)).json()["last_used_at"] is None
            await http.get("/files")
            assert (await admin.get(path)).json()["last_used_at"] >= account["created_at"]


class TestBounds:
    async def test_one_entry_a_minute_for_a_key_and_a_kind_with_how_many_there_were(self, admin_api: AdminApi) -> None:
        _, account = await new_project(admin_api)
        async with admin_api.http(account["api_key"]["value"]) as http:
            await asyncio.gather(*(http.get("/organization/projects") for _ in range(20)))
        async with admin_api.http() as admin:

            async def counted() -> list[int]:
                answer = await admin.get("/organization/audit_logs", params={"actor_ids[]": account["api_key"]["id"]})
                return [entry["login.failed"]["count"] for entry in answer.json()["data"]]

            async with asyncio.timeout(60):
                while sum(counts := await counted()) < 20:
                    await asyncio.sleep(0.1)
        assert sum(counts) == 20
        assert len(counts) <= 2, "the minute changed once at most"

    async def test_made_up_keys_cannot_fill_the_database(self, admin_api: AdminApi) -> None:
        """Well-formed ones, since anybody can compute the checksum."""
        authenticator = Authenticator(admin_api.db)
        client = Actor(kind="session", ip_address="127.0.0.1")
        before = await _unknown_entries(admin_api)
        for _ in range(200):
            with pytest.raises(ApiError):
                await authenticator.project_caller(new_key("project"), method="GET", client=client)
        await authenticator.close()
        added = await _unknown_entries(admin_api) - before
        assert 1 <= added <= 2 * refused_requests.UNKNOWN_KEY_SUBJECTS  # twice: a minute may have passed
        async with admin_api.db.admin() as session:
            counted = await session.scalar(
                select(func.sum(Refusal.count)).where(Refusal.subject.startswith("unknown-"))
            )
        assert (counted or 0) >= 200


class TestTheTable:
    async def test_the_service_can_add_and_read_and_nothing_else(self, admin_api: AdminApi) -> None:
        async with admin_api.db.admin() as session:
            rights = (
                await session.execute(
                    select(
                        *(
                            func.has_table_privilege(SERVICE_ROLE, "audit_logs", right)
                            for right in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")
                        )
                    )
                )
            ).one()
        assert tuple(rights) == (True, True, False, False, False)


async def _unknown_entries(admin_api: AdminApi) -> int:
    return await _count(admin_api, Refusal, Refusal.subject.startswith("unknown-"))


async def _count(admin_api: AdminApi, table: type[AuditLog | Refusal], *where: ColumnElement[bool]) -> int:
    async with admin_api.db.admin() as session:
        return await session.scalar(select(func.count()).select_from(table).where(*where)) or 0
