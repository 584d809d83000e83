"""A key that only reads: refused on everything but GET, on every route that there is."""

import re
from typing import Any

import pytest

from service.app import create_litestar
from service.http.openapi import document
from service.identity.callers import Administrator, Caller, may
from service.settings import Settings
from tests.identity.fixtures import AdminApi
from tests.identity.test_refused_keys import new_project
from tests.wire import refusal

READ_ONLY = ["api.all.read"]
DOCUMENT = document(create_litestar(Settings()))
ROUTES = [
    (method, path)
    for path, methods in DOCUMENT["paths"].items()
    for method, described in methods.items()
    if "security" not in described
]
FOR_ADMINISTRATORS = re.compile(r"/v1/(organization/|fine_tuning/checkpoints/)")


@pytest.fixture
async def reading(admin_api: AdminApi) -> dict[bool, str]:
    """Two keys that only read: an admin key (True) and a project's (False)."""
    project, account = await new_project(admin_api)
    async with admin_api.http() as admin:
        path = f"/organization/projects/{project}/service_accounts/{account['id']}/api_keys"
        project_key = await admin.post(path, json={"scopes": READ_ONLY})
        admin_key = await admin.post("/organization/admin_api_keys", json={"name": "r", "scopes": READ_ONLY})
    return {True: admin_key.json()["value"], False: project_key.json()["value"]}


async def test_every_route_that_is_not_a_get_refuses_a_key_that_only_reads(
    admin_api: AdminApi, reading: dict[bool, str]
) -> None:
    """A new route is held to it without a line of its own; one that forgets to ask for a key fails here."""
    refused = 0
    for method, path in ROUTES:
        key = reading[FOR_ADMINISTRATORS.match(path) is not None]
        async with admin_api.http(key) as http:
            answer = await http.request(method, re.sub(r"\{.*?\}", "x", path.removeprefix("/v1")))
        if method == "get":
            assert answer.status_code != 403, (path, answer.text)
        else:
            refused += 1
            assert answer.status_code == 403, (method, path, answer.text)
            error = refusal(answer)
            assert error["code"] == "insufficient_permissions"
            assert "api.all.read" in error["message"]
    assert refused > 20


async def test_scopes_are_taken_and_given_back(admin_api: AdminApi) -> None:
    project, account = await new_project(admin_api)
    path = f"/organization/projects/{project}/api_keys/{account['api_key']['id']}"
    async with admin_api.http() as admin:
        for scopes in (READ_ONLY, []):
            changed = (await admin.post(path, json={"scopes": scopes})).json()
            assert changed["scopes"] == scopes
        for wrong in (["api.all.write"], ["api.all.read", "api.all.read"], "api.all.read", None):
            answer = await admin.post(path, json={"scopes": wrong})
            assert answer.status_code == 400, answer.text
            assert (refusal(answer)["param"] or "").startswith("scopes")


@pytest.mark.parametrize("who", [Caller("key_1", "proj_1"), Administrator("key_1")])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PURGE"])
def test_the_rule(who: Any, method: str) -> None:
    reading = type(who)(**{name: getattr(who, name) for name in who.__slots__ if name != "scopes"}, scopes=("x",))
    assert may(who, method)
    assert may(reading, method) == (method in ("GET", "HEAD", "OPTIONS"))
