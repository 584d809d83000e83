"""What a project's key sees of its own project: itself, its audit log with names, the accounts that it may use."""

from typing import Any

from sqlalchemy import select

from service.database.tables import AuditLog, File, UpstreamAccount
from service.ids import new_id
from tests.http.fixtures import Api
from tests.identity.fixtures import AdminApi
from tests.identity.test_audit import as_the_sdk_has_it
from tests.identity.test_refused_keys import new_project

Named = tuple[str, str | None, str | None]


async def own_entries(admin_api: AdminApi, key: str, **query: Any) -> tuple[list[dict[str, Any]], str]:
    """A project's entries, newest first, and the whole answer."""
    async with admin_api.http(key) as http:
        answer = await http.get("/project/audit_logs", params={"limit": 100} | query)
    assert answer.status_code == 200, answer.text
    for entry in answer.json()["data"]:
        as_the_sdk_has_it(entry)
    return answer.json()["data"], answer.text


def named(entry: dict[str, Any]) -> Named:
    """An entry's type, and the names of its actor's key and of what it changed."""
    return entry["type"], (entry["actor"] or {}).get("api_key", {}).get("name"), entry["resource"]["name"]


class TestAuditLog:
    async def test_has_the_names_at_the_time_also_of_what_was_deleted(self, admin_api: AdminApi) -> None:
        project, account = await new_project(admin_api)
        path = f"/organization/projects/{project}"
        async with admin_api.http() as admin:
            old = (await admin.post(f"{path}/service_accounts", json={"name": "old name"})).json()
            async with admin_api.http(old["api_key"]["value"]) as http:
                file = await http.post("/files", data={"purpose": "user_data"}, files={"file": ("notes.txt", b"x")})
                assert (await http.delete(f"/files/{file.json()['id']}")).status_code == 200
            await admin.post(f"{path}/service_accounts/{old['id']}", json={"name": "new name"})
            await admin.delete(f"{path}/service_accounts/{old['id']}")
            await admin.post(path, json={"name": "lakes"})
        found, _ = await own_entries(admin_api, account["api_key"]["value"])
        assert [named(entry) for entry in found] == [
            ("project.updated", "tests", "lakes"),
            ("api_key.deleted", "tests", "old name"),
            ("service_account.deleted", "tests", "new name"),
            ("service_account.updated", "tests", "new name"),
            ("resource.deleted", "old name", "notes.txt"),
            ("api_key.created", "tests", "old name"),
            ("service_account.created", "tests", "old name"),
            ("api_key.created", "tests", "ci"),
            ("service_account.created", "tests", "ci"),
            ("project.created", "tests", "geo"),
        ]
        by_account = found[4]["actor"]["api_key"]["service_account"]
        assert by_account == {"id": old["id"], "name": "old name"}

    async def test_keeps_an_administrator_s_address_from_projects(self, admin_api: AdminApi) -> None:
        project, account = await new_project(admin_api)
        key = account["api_key"]["value"]
        async with admin_api.http(key) as http:
            await http.get("/organization/projects")
        found, _ = await own_entries(admin_api, key)
        assert found[0]["type"] == "login.failed"
        assert found[0]["actor"]["session"] == {"ip_address": "127.0.0.1"}
        assert {str(entry["actor"]["session"]) for entry in found[1:]} == {"None"}
        async with admin_api.http() as admin:
            answer = await admin.get("/organization/audit_logs", params={"project_ids[]": project})
        assert {entry["actor"]["session"]["ip_address"] for entry in answer.json()["data"]} == {"127.0.0.1"}

    async def test_shows_nothing_of_another_project_and_takes_no_cursor_of_it(self, admin_api: AdminApi) -> None:
        theirs, their_account = await new_project(admin_api)
        _, mine = await new_project(admin_api)
        key = mine["api_key"]["value"]
        found, text = await own_entries(admin_api, key)
        assert len(found) == 3
        assert theirs not in text
        assert their_account["id"] not in text
        filtered, _ = await own_entries(admin_api, key, **{"resource_ids[]": their_account["id"]})
        assert filtered == []
        [other] = [entry["id"] for entry in (await own_entries(admin_api, their_account["api_key"]["value"]))[0]][:1]
        async with admin_api.http(key) as http:
            reported = []
            for cursor in (other, other[:-4] + "0000"):
                answer = await http.get("/project/audit_logs", params={"after": cursor})
                reported.append((answer.status_code, answer.text.replace(cursor, "ID")))
            assert reported[0] == reported[1]
            assert reported[0][0] == 400
            assert (await http.get("/project/audit_logs", params={"project_ids[]": theirs})).status_code == 400

    async def test_older_entries_have_the_names_of_today(self, admin_api: AdminApi) -> None:
        project, account = await new_project(admin_api)
        async with admin_api.db.admin() as session:
            session.add(
                AuditLog(
                    id=new_id("audit_log-"),
                    project_id=project,
                    type="service_account.updated",
                    actor="api_key",
                    key_id=account["api_key"]["id"],
                    service_account_id=account["id"],
                    resource_id=account["id"],
                )
            )
        found, _ = await own_entries(admin_api, account["api_key"]["value"])
        key = found[0]["actor"]["api_key"]
        assert (key["name"], key["service_account"]["name"], found[0]["resource"]["name"]) == ("ci", "ci", None)

    async def test_the_name_of_a_file_is_stored_with_the_file_only(self, admin_api: AdminApi) -> None:
        """A project's deletion removes the names of its files, and entries of the audit log never change."""
        _, account = await new_project(admin_api)
        async with admin_api.http(account["api_key"]["value"]) as http:
            made = await http.post("/files", data={"purpose": "user_data"}, files={"file": ("private.txt", b"x")})
            await http.delete(f"/files/{made.json()['id']}")
        async with admin_api.db.admin() as session:
            entry = (await session.scalars(select(AuditLog).where(AuditLog.resource_id == made.json()["id"]))).one()
            file = await session.get(File, made.json()["id"])
        assert file is not None
        assert (entry.resource_name, file.filename) == (None, "private.txt")


class TestUpstreams:
    async def test_are_named_with_their_state_and_no_more(self, api: Api, admin_api: AdminApi) -> None:
        shared, own, theirs = (new_id("upstream_") for _ in range(3))
        owners = {shared: None, own: api.one.project_id, theirs: api.other.project_id}
        async with admin_api.db.admin() as session:
            for account_id, owner in owners.items():
                session.add(
                    UpstreamAccount(
                        id=account_id,
                        project_id=owner,
                        name=f"name of {account_id}",
                        kind="openai",
                        base_url=f"https://{account_id[9:]}.example.com/v1",
                        credential_sealed=b"x",
                    )
                )
        async with api.http() as http:
            answer = await http.get("/project/upstreams", params={"limit": 100})
            first = (await http.get("/project/upstreams", params={"limit": 1})).json()
            second = (await http.get("/project/upstreams", params={"limit": 1, "after": first["last_id"]})).json()
            reported = []
            for cursor in (theirs, theirs[:-4] + "0000"):
                refused = await http.get("/project/upstreams", params={"after": cursor})
                reported.append((refused.status_code, refused.text.replace(cursor, "ID")))
            async with admin_api.http() as admin:
                await admin.post(f"/organization/upstreams/{shared}", json={"drained": True})
            drained = (await http.get("/project/upstreams", params={"limit": 100})).json()["data"]
        data = answer.json()["data"]
        listed = {each["id"]: each for each in data}
        assert (listed[shared]["name"], listed[shared]["shared"], listed[shared]["state"]) == (
            f"name of {shared}",
            True,
            "ready",
        )
        assert listed[own]["shared"] is False
        for secret in (theirs, "example.com", "active_jobs", "credential", "base_url", "last_success"):
            assert secret not in answer.text
        assert [first["data"][0]["id"], second["data"][0]["id"]] == [each["id"] for each in data[:2]]
        assert reported[0] == reported[1]
        assert reported[0][0] == 400
        assert [each["state"] for each in drained if each["id"] == shared] == ["drained"]


class TestProject:
    async def test_is_that_of_the_key_with_the_key(self, admin_api: AdminApi) -> None:
        project, account = await new_project(admin_api)
        async with admin_api.http(account["api_key"]["value"]) as http:
            shown = (await http.get("/project")).json()
            limits = (await http.get("/project/limits")).json()
            no_limit = await http.get("/project/spend_limit")
            async with admin_api.http() as admin:
                monthly = {"currency": "USD", "interval": "month", "threshold_amount": 5000}
                await admin.post(f"/organization/projects/{project}/spend_limit", json=monthly)
                theirs = (await admin.get(f"/organization/projects/{project}/limits")).json()
            spend_limit = (await http.get("/project/spend_limit")).json()
            rates = (await http.get("/project/rate_limits")).json()["data"]
        assert (shown["id"], shown["name"], shown["object"]) == (project, "geo", "organization.project")
        assert (shown["api_key"]["id"], shown["api_key"]["owner"]["service_account"]["name"]) == (
            account["api_key"]["id"],
            "ci",
        )
        assert limits["project_id"] == project
        assert (limits["spend_limit"], theirs["spend_limit"]) == (None, {"value": 50.0, "currency": "usd"})
        assert theirs["usage"]["spend"] == {"value": 0.0, "currency": "usd"}
        assert no_limit.status_code == 404
        assert spend_limit["threshold_amount"] == 5000
        assert rates[0]["model"] == "*"
