"""The audit log: every change leaves an entry in its own transaction, and entries are found by their filters."""

import json
import operator
import re
from dataclasses import dataclass
from typing import Any, get_args

import httpx2
import pytest
from openai.types.admin.organization import AuditLogListResponse

from service.app import create_litestar
from service.database.tables import File, Job, Model, Project, UpstreamAccount, WebhookEndpoint
from service.http.openapi import document
from service.identity import audit
from service.identity.audit_events import EVENT_TYPES, OWN_TYPES, SDK_TYPES, detail_of
from service.ids import new_id
from service.settings import Settings
from tests.contract.strict import strict_items
from tests.http.fixtures import Api
from tests.identity.fixtures import AdminApi, Processes
from tests.identity.test_refused_keys import new_project
from tests.identity.test_roles import FOR_ADMINISTRATORS

Ids = dict[str, str]

MONTHLY = {"currency": "USD", "interval": "month", "threshold_amount": 5000}
ALERT = {**MONTHLY, "notification_channel": {"type": "email", "recipients": ["a@example.com"]}}
UPSTREAM = {"name": "spare {new}", "kind": "openai", "base_url": "http://127.0.0.1:1/v1", "credential": "sk-hidden"}
PRICE = {"model": "gpt-4o-mini", "effective_from": "2099-01-01", "dollars_per_million_tokens": 3, "source": "contract"}


@dataclass(frozen=True)
class Call:
    """What a route is sent, the type of the entry that it leaves, and what is called before it.

    `first` has calls with their bodies, and the name in paths that the id of what they made gets.
    """

    event: str
    body: Any = None
    first: tuple[tuple[str, Any, str], ...] = ()


PROJECT = "/v1/organization/projects/{project_id}"
ACCOUNT = PROJECT + "/service_accounts/{service_account_id}"
CHECKPOINT = "/v1/fine_tuning/checkpoints/{checkpoint}/permissions"
CHANGES = {
    "POST /v1/organization/projects": Call("project.created", {"name": "new"}),
    f"POST {PROJECT}": Call("project.updated", {"name": "newer"}),
    f"POST {PROJECT}/archive": Call("project.archived"),
    f"DELETE {PROJECT}": Call(
        "project.deleted", first=(("POST /organization/projects/{project_id}/archive", None, ""),)
    ),
    f"POST {PROJECT}/retention": Call("project_retention.updated", {"retention_days": 30}),
    f"POST {PROJECT}/service_accounts": Call("service_account.created", {"name": "x"}),
    f"POST {ACCOUNT}": Call("service_account.updated", {"role": "owner"}),
    f"DELETE {ACCOUNT}": Call("service_account.deleted"),
    f"POST {ACCOUNT}/api_keys": Call("api_key.created", {"scopes": ["api.all.read"]}),
    f"POST {PROJECT}/api_keys/{{api_key_id}}": Call("api_key.updated", {"expires_in_seconds": 600}),
    f"DELETE {PROJECT}/api_keys/{{api_key_id}}": Call("api_key.deleted"),
    f"POST {PROJECT}/limits": Call("project_limits.updated", {"max_active_jobs": 7}),
    f"POST {PROJECT}/rate_limits/{{rate_limit_id}}": Call("rate_limit.updated", {"max_requests_per_1_minute": 10}),
    f"POST {PROJECT}/spend_limit": Call("spend_limit.updated", MONTHLY),
    f"DELETE {PROJECT}/spend_limit": Call(
        "spend_limit.deleted", first=(("POST /organization/projects/{project_id}/spend_limit", MONTHLY, ""),)
    ),
    f"POST {PROJECT}/spend_alerts": Call("spend_alert.created", ALERT),
    **{
        f"{method} {PROJECT}/spend_alerts/{{alert_id}}": Call(
            f"spend_alert.{event}",
            body,
            first=(("POST /organization/projects/{project_id}/spend_alerts", ALERT, "alert_id"),),
        )
        for method, event, body in (("POST", "updated", ALERT), ("DELETE", "deleted", None))
    },
    "POST /v1/organization/spend_limit": Call("spend_limit.updated", MONTHLY),
    "DELETE /v1/organization/spend_limit": Call(
        "spend_limit.deleted", first=(("POST /organization/spend_limit", MONTHLY, ""),)
    ),
    "POST /v1/organization/spend_alerts": Call("spend_alert.created", ALERT),
    **{
        f"{method} /v1/organization/spend_alerts/{{alert_id}}": Call(
            f"spend_alert.{event}", body, first=(("POST /organization/spend_alerts", ALERT, "alert_id"),)
        )
        for method, event, body in (("POST", "updated", ALERT), ("DELETE", "deleted", None))
    },
    "POST /v1/organization/admin_api_keys": Call("api_key.created", {"name": "x", "expires_in_seconds": 600}),
    "DELETE /v1/organization/admin_api_keys/{key_id}": Call("api_key.deleted"),
    "POST /v1/organization/prices": Call("price.updated", PRICE),
    "POST /v1/organization/upstreams": Call("upstream_account.created", UPSTREAM),
    **{
        f"{method} /v1/organization/upstreams/{{upstream_id}}": Call(
            f"upstream_account.{event}", body, first=(("POST /organization/upstreams", UPSTREAM, "upstream_id"),)
        )
        for method, event, body in (("POST", "updated", {"max_active_jobs": 3}), ("DELETE", "deleted", None))
    },
    f"POST {CHECKPOINT}": Call("checkpoint.permission.created", {"project_ids": ["{other_project_id}"]}),
    f"DELETE {CHECKPOINT}/{{permission_id}}": Call("checkpoint.permission.deleted"),
}
"""What each call of an administrator is sent here, and the entry that it leaves."""


def _changing_routes() -> list[str]:
    paths = document(create_litestar(Settings()))["paths"]
    return sorted(
        f"{method.upper()} {path}"
        for path, methods in paths.items()
        if FOR_ADMINISTRATORS.match(path)
        for method in methods
        if method != "get"
    )


@pytest.fixture
async def ids(admin_api: AdminApi) -> Ids:
    """A project with one of everything, by the names that they have in paths."""
    project, account = await new_project(admin_api)
    other, _ = await new_project(admin_api)
    model = await _model(admin_api, project)
    async with admin_api.http() as admin:
        key = (await admin.post("/organization/admin_api_keys", json={"name": "other"})).json()["id"]
        granted = await admin.post(f"/fine_tuning/checkpoints/{model}/permissions", json={"project_ids": [project]})
    return {
        "project_id": project,
        "other_project_id": other,
        "service_account_id": account["id"],
        "api_key_id": account["api_key"]["id"],
        "key_id": key,
        "rate_limit_id": "rl-gpt-4o-mini-2024-07-18",
        "checkpoint": model,
        "permission_id": granted.json()["data"][0]["id"],
    }


@pytest.mark.parametrize("route", _changing_routes())
async def test_a_change_by_an_administrator_leaves_an_entry(admin_api: AdminApi, ids: Ids, route: str) -> None:
    """A new route fails until it is listed above, and passes only when it records what it did."""
    assert route in CHANGES, f"say in CHANGES how to call {route}, and which audit event it leaves"
    call = CHANGES[route]
    async with admin_api.http() as admin:
        for earlier, body, name in call.first:
            made = await _send(admin, earlier, body, ids)
            assert made.status_code == 200, made.text
            ids = {**ids, name: made.json().get("id", "")}
        newest = (await entries(admin_api))[0]["id"]
        answer = await _send(admin, route, call.body, ids)
    assert answer.status_code == 200, answer.text
    added = await entries(admin_api, before=newest)
    assert call.event in [entry["type"] for entry in added]
    entry = next(entry for entry in added if entry["type"] == call.event)
    assert entry["request_id"] == answer.headers["x-request-id"]
    assert entry["actor"]["session"] == {"ip_address": "127.0.0.1"}
    assert entry["actor"]["type"] == "api_key"
    assert entry[call.event]["id"]
    project = (entry["project"] or {}).get("id")
    assert project in (None, ids["project_id"], ids["other_project_id"], answer.json().get("id"))
    value = answer.json().get("value") or (answer.json().get("api_key") or {}).get("value") or "no value"
    for secret in (value, UPSTREAM["credential"]):
        assert secret not in json.dumps(added)
    as_the_sdk_has_it(entry)


async def _send(admin: httpx2.AsyncClient, route: str, body: Any, ids: Ids) -> httpx2.Response:
    method, path = route.split(" ")
    filled = json.loads(_filled(json.dumps(body), {**ids, "new": new_id("")}))
    return await admin.request(method, _filled(path.removeprefix("/v1"), ids), json=filled)


def _filled(text: str, ids: Ids) -> str:
    return re.sub(r"\{(\w+)\}", lambda name: ids[name[1]], text)


async def _endpoint_row(api: Api) -> str:
    endpoint_id = new_id("we_")
    async with api.rows() as session:
        session.add(
            WebhookEndpoint(
                id=endpoint_id,
                project_id=api.one.project_id,
                name="r",
                url="https://example.com/hook?token=hidden",
                event_types=["file.error"],
                secret_encrypted=b"x",
                secret_hint="whsec_...x",
            )
        )
    return endpoint_id


class TestInProjects:
    async def test_a_webhook_endpoint_changed_rotated_and_deleted(self, api: Api, admin_api: AdminApi) -> None:
        endpoint = await _endpoint_row(api)
        async with api.http() as http:
            assert (await http.post(f"/webhook_endpoints/{endpoint}", json={"name": "s"})).status_code == 200
            rotated = await http.post(f"/webhook_endpoints/{endpoint}/rotate_secret")
            assert (await http.delete(f"/webhook_endpoints/{endpoint}")).status_code == 200
        found = await entries(admin_api, **{"resource_ids[]": endpoint})
        assert [entry["type"] for entry in found] == [
            "resource.deleted",
            "webhook_endpoint.secret_rotated",
            "webhook_endpoint.updated",
        ]
        assert found[2]["webhook_endpoint.updated"]["changes_requested"] == {"name": "s"}
        assert rotated.json()["signing_secret" if "signing_secret" in rotated.json() else "secret"] not in str(found)
        assert {entry["project"]["id"] for entry in found} == {api.one.project_id}
        assert [entry["actor"]["api_key"]["id"] for entry in found].count(found[0]["actor"]["api_key"]["id"]) == 3

    async def test_a_new_webhook_endpoint_is_recorded_with_its_host_only(self, processes: Processes) -> None:
        async with processes.http(0) as admin:
            project = (await admin.post("/organization/projects", json={"name": "hooks"})).json()["id"]
            path = f"/organization/projects/{project}/service_accounts"
            key = (await admin.post(path, json={"name": "ci"})).json()["api_key"]
            wanted = {"name": "r", "url": "http://127.0.0.1:9/hidden?token=hidden", "event_types": ["file.error"]}
            async with processes.http(1, key["value"]) as http:
                made = (await http.post("/webhook_endpoints", json=wanted)).json()
            answer = await admin.get("/organization/audit_logs", params={"resource_ids[]": made["id"]})
        (entry,) = answer.json()["data"]
        assert entry["webhook_endpoint.created"]["data"] == {
            "name": "r",
            "host": "127.0.0.1",
            "event_types": ["file.error"],
        }
        assert entry["actor"]["api_key"]["id"] == key["id"]
        assert "hidden" not in answer.text

    async def test_a_file_and_a_model_that_are_deleted(self, api: Api, admin_api: AdminApi) -> None:
        async with api.http() as http:
            file = await http.post("/files", data={"purpose": "user_data"}, files={"file": ("a", b"x")})
            model = await _model(admin_api, api.one.project_id)
            for path in (f"/files/{file.json()['id']}", f"/models/{model}"):
                assert (await http.delete(path)).status_code == 200
                assert (await http.delete(path)).status_code == 404
        found = await entries(admin_api, **{"project_ids[]": api.one.project_id, "event_types[]": "resource.deleted"})
        assert [(entry["resource.deleted"]["resource_type"], entry["resource.deleted"]["id"]) for entry in found] == [
            ("model", model),
            ("file", file.json()["id"]),
        ]


class TestReading:
    async def test_filters_hold_together(self, admin_api: AdminApi) -> None:
        project, account = await new_project(admin_api)
        all_of_it = await entries(admin_api, **{"project_ids[]": project})
        assert [entry["type"] for entry in all_of_it] == [
            "api_key.created",
            "service_account.created",
            "project.created",
        ]
        one = {"project_ids[]": project, "event_types[]": "project.created"}
        assert [entry["id"] for entry in await entries(admin_api, **one)] == [all_of_it[2]["id"]]
        assert [
            entry["id"]
            for entry in await entries(admin_api, **{"resource_ids[]": account["id"], "project_ids[]": project})
        ] == [all_of_it[1]["id"]]
        key_id = all_of_it[0]["actor"]["api_key"]["id"]
        assert len(await entries(admin_api, **{"actor_ids[]": key_id, "project_ids[]": project})) == 3
        moment = all_of_it[0]["effective_at"]
        for name, compare in (("gte", operator.ge), ("lte", operator.le), ("gt", operator.gt), ("lt", operator.lt)):
            found = await entries(admin_api, **{"project_ids[]": project, f"effective_at[{name}]": moment})
            assert found == [entry for entry in all_of_it if compare(entry["effective_at"], moment)]

    async def test_several_values_of_a_filter_are_alternatives(self, admin_api: AdminApi) -> None:
        project, _ = await new_project(admin_api)
        async with admin_api.http() as admin:
            wanted = [("event_types[]", "project.created"), ("event_types[]", "api_key.created")]
            answer = await admin.get("/organization/audit_logs", params=[("project_ids[]", project), *wanted])
        assert [entry["type"] for entry in answer.json()["data"]] == ["api_key.created", "project.created"]

    async def test_pages_lead_both_ways(self, admin_api: AdminApi) -> None:
        project, _ = await new_project(admin_api)
        newest, middle, oldest = await entries(admin_api, **{"project_ids[]": project})
        of_project: dict[str, Any] = {"project_ids[]": project, "limit": 1}
        async with admin_api.http() as admin:

            async def page(**query: Any) -> Any:
                return (await admin.get("/organization/audit_logs", params=of_project | query)).json()

            assert (await page(after=newest["id"]))["data"] == [middle]
            assert (await page(before=oldest["id"]))["data"] == [middle]
            assert (await page(before=oldest["id"]))["has_more"] is True
            assert (await page(before=middle["id"]))["has_more"] is False
            assert (await page(before=oldest["id"], after=newest["id"]))["data"] == [middle]

    @pytest.mark.parametrize(
        ("query", "param"),
        [
            ({"event_types[]": "project.exploded"}, "event_types[]"),
            ({"after": "audit_log-none"}, "after"),
            ({"before": "audit_log-none"}, "before"),
            ({"effective_at[gt]": "yesterday"}, "effective_at[gt]"),
            ({"effective_at[around]": "1"}, "effective_at[around]"),
            ({"actor_emails[]": "a@example.com"}, "actor_emails[]"),
            ({"project_ids": "proj_1"}, "project_ids"),
            ({"limit": "101"}, "limit"),
        ],
    )
    async def test_what_is_not_understood_is_refused(
        self, admin_api: AdminApi, query: dict[str, str], param: str
    ) -> None:
        async with admin_api.http() as admin:
            answer = await admin.get("/organization/audit_logs", params=query)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


class TestTypes:
    def test_the_closed_set_is_the_sdk_s(self) -> None:
        assert set(get_args(AuditLogListResponse.model_fields["type"].annotation)) == SDK_TYPES

    def test_none_of_the_gateway_s_types_is_one_of_the_sdk_s(self) -> None:
        assert not SDK_TYPES & set(OWN_TYPES)
        assert SDK_TYPES | set(OWN_TYPES) == EVENT_TYPES

    async def test_an_unknown_type_is_a_defect(self, admin_api: AdminApi) -> None:
        async with admin_api.db.admin() as session:
            with pytest.raises(ValueError, match="exploded"):
                await audit.record(session, audit.SYSTEM, "project.exploded")

    @pytest.mark.parametrize(
        ("type", "shown"),
        [
            ("project.created", {"id": "x", "data": {"a": 1}}),
            ("project.updated", {"id": "x", "changes_requested": {"a": 1}}),
            ("resource.deleted", {"id": "x", "a": 1}),
            ("login.failed", {"id": "x", "a": 1}),
        ],
    )
    def test_details_stand_where_the_sdk_has_them(self, type: str, shown: dict[str, Any]) -> None:
        assert detail_of(type, resource_id="x", data={"a": 1}) == shown


def as_the_sdk_has_it(entry: dict[str, Any]) -> None:
    """An entry is the SDK's type, strictly, but for our own types."""
    checked = {**entry, "type": "project.created"} if entry["type"] in OWN_TYPES else entry
    strict_items(AuditLogListResponse, [checked])


async def entries(admin_api: AdminApi, **query: Any) -> list[dict[str, Any]]:
    """A page of entries, newest first."""
    async with admin_api.http() as admin:
        answer = await admin.get("/organization/audit_logs", params={"limit": 100} | query)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    for entry in data:
        as_the_sdk_has_it(entry)
    return data


async def _model(admin_api: AdminApi, project_id: str) -> str:
    job_id, file_id, account_id = new_id("ftjob-"), new_id("file-"), new_id("account-")
    name = f"ft:gpt-4o-mini:tunegate::{job_id[-12:]}"
    async with admin_api.db.admin() as session:
        assert await session.get(Project, project_id)
        session.add(UpstreamAccount(id=account_id, kind="openai", base_url=account_id))
        session.add(
            File(
                id=file_id,
                project_id=project_id,
                filename="a",
                purpose="fine-tune",
                size_bytes=1,
                sha256="x",
                storage_key=file_id,
                status="processed",
            )
        )
        await session.flush()
        session.add(
            Job(
                id=job_id,
                project_id=project_id,
                state="validating",
                model="gpt-4o-mini",
                training_file_id=file_id,
                seed=1,
                method={},
            )
        )
        await session.flush()
        session.add(
            Model(
                name=name,
                project_id=project_id,
                job_id=job_id,
                kind="model",
                base_model="gpt-4o-mini",
                account_id=account_id,
                upstream_name="ft:upstream",
            )
        )
    return name
