"""Things of one project asked for under another: the same bytes as for an id that never was, but for the id."""

from typing import Any

import pytest

from tests.identity.fixtures import AdminApi
from tests.identity.test_refused_keys import new_project

CALLS = [
    ("GET", "service_accounts/{account}", None),
    ("POST", "service_accounts/{account}", {"name": "mine now"}),
    ("DELETE", "service_accounts/{account}", None),
    ("POST", "service_accounts/{account}/api_keys", {}),
    ("GET", "api_keys/{key}", None),
    ("POST", "api_keys/{key}", {"scopes": ["api.all.read"]}),
    ("DELETE", "api_keys/{key}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CALLS, ids=[f"{method} {path}" for method, path, _ in CALLS])
async def test_a_thing_of_another_project(admin_api: AdminApi, method: str, path: str, body: Any) -> None:
    mine, _ = await new_project(admin_api)
    theirs, account = await new_project(admin_api)
    ids = {"account": account["id"], "key": account["api_key"]["id"]}
    never = {name: value[:-4] + "0000" for name, value in ids.items()}
    async with admin_api.http() as admin:
        reported = []
        for which in (ids, never):
            answer = await admin.request(method, f"/organization/projects/{mine}/{path.format(**which)}", json=body)
            text = answer.text
            for value in which.values():
                text = text.replace(value, "ID")
            reported.append((answer.status_code, text))
        assert reported[0] == reported[1]
        assert reported[0][0] == 404
        kept = (await admin.get(f"/organization/projects/{theirs}/api_keys/{ids['key']}")).json()
        assert (kept["name"], kept["scopes"]) == ("ci", [])
        assert (await admin.get(f"/organization/projects/{theirs}/service_accounts/{ids['account']}")).json()[
            "name"
        ] == "ci"


@pytest.mark.parametrize(
    "path", ["", "/service_accounts", "/api_keys", "/service_accounts/svc_acct_1", "/api_keys/key_1"]
)
async def test_a_project_that_never_was(admin_api: AdminApi, path: str) -> None:
    async with admin_api.http() as admin:
        answer = await admin.get(f"/organization/projects/proj_never{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "project_not_found")


@pytest.mark.parametrize("path", ["service_accounts", "api_keys"])
async def test_a_cursor_of_another_project(admin_api: AdminApi, path: str) -> None:
    mine, _ = await new_project(admin_api)
    _, account = await new_project(admin_api)
    after = account["id"] if path == "service_accounts" else account["api_key"]["id"]
    async with admin_api.http() as admin:
        answer = await admin.get(f"/organization/projects/{mine}/{path}", params={"after": after})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_cursor")
