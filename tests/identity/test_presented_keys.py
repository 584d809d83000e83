"""The key of a request, in every header and form that clients send it."""

import dataclasses

import httpx2
import pytest
from litestar.datastructures import Headers

from service.errors import Unauthenticated
from service.identity.keys import new_key
from service.identity.presented_keys import incorrect_key, presented_key
from service.settings import Settings
from tests.http.fixtures import Api, serving
from tests.wire import make_tenant

KEY = new_key("project")


def headers(*pairs: tuple[str, str]) -> Headers:
    """The headers of a request."""
    return Headers([(name.encode(), value.encode()) for name, value in pairs])


class TestPresented:
    @pytest.mark.parametrize(
        "pairs",
        [
            [("authorization", f"Bearer {KEY}")],
            [("authorization", f"bearer {KEY}")],
            [("Authorization", f"BEARER \t {KEY}  ")],
            [("api-key", KEY)],
            [("Api-Key", f" {KEY} ")],
            [("x-api-key", KEY)],
            [("authorization", f"Bearer {KEY}"), ("api-key", KEY), ("x-api-key", KEY)],
            [("authorization", "Basic dXNlcjpwYXNz"), ("api-key", KEY)],  # a proxy's own
            [("authorization", "Bearer "), ("api-key", KEY)],
        ],
    )
    def test_found(self, pairs: list[tuple[str, str]]) -> None:
        assert presented_key(headers(*pairs)) == KEY

    @pytest.mark.parametrize(
        "pairs",
        [
            [("authorization", f"Bearer {KEY}"), ("api-key", "other")],
            [("authorization", "Bearer other"), ("api-key", KEY)],
            [("authorization", "Bearer other"), ("authorization", f"Bearer {KEY}")],
            [("api-key", "other"), ("x-api-key", KEY)],
        ],
    )
    def test_two_different_ones_are_refused_whichever_is_valid(self, pairs: list[tuple[str, str]]) -> None:
        with pytest.raises(Unauthenticated, match="two different API keys") as refused:
            presented_key(headers(*pairs))
        assert refused.value.code == "conflicting_api_keys"
        assert KEY not in refused.value.message

    @pytest.mark.parametrize(
        ("pairs", "says"),
        [
            ([], "You didn't provide an API key. Send"),
            ([("authorization", "Basic dXNlcjpwYXNz")], "has the scheme `Basic`"),
            ([("authorization", f"Token {KEY}")], "has the scheme `Token`"),
            ([("authorization", KEY)], "does not begin with `Bearer`"),
            ([("authorization", f"my secret {KEY}")], "does not begin with `Bearer`"),
            ([("authorization", "Bearer")], "is empty after `Bearer`"),
            ([("authorization", "")], "does not begin with `Bearer`"),
            ([("api-key", " ")], "You didn't provide an API key. Send"),
        ],
    )
    def test_none(self, pairs: list[tuple[str, str]], says: str) -> None:
        with pytest.raises(Unauthenticated) as refused:
            presented_key(headers(*pairs))
        message = refused.value.message
        assert (refused.value.code, says in message) == ("missing_api_key", True), message
        assert "`Authorization: Bearer YOUR_KEY` or `api-key: YOUR_KEY`" in message
        assert not any(secret in message for secret in (KEY, "secret", "dXNlcjpwYXNz"))


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (f"Bearer {KEY}", "once too often"),
        (f'"{KEY}"', "in quotes"),
        (f"'{KEY}'", "in quotes"),
        (f"<{KEY}>", "in quotes or brackets"),
        ("$OPENAI_API_KEY", "name of a variable"),
        ("{{api_key}}", "name of a variable"),
        ("YOUR_API_KEY", "name of a variable"),
        ("None", "is not set"),
        ("undefined", "is not set"),
        ("sk-proj-4f5g6h7j", "form of a key of OpenAI"),
        ("eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "a token (JWT)"),
        (f"{KEY} # mine", "white space"),
        (KEY[:-1], "incomplete or mistyped"),
        ("nonsense", "Check it"),
    ],
    ids=lambda value: str(value).replace(KEY, "KEY").replace(KEY[:-1], "KEY"),
)
def test_the_refusal_of_a_key_of_another_form_says_why_and_does_not_repeat_it(key: str, says: str) -> None:
    message = incorrect_key(key).message
    assert says in message
    assert KEY[8:-1] not in message
    assert key not in message.replace("API", "")


class TestOverHttp:
    @pytest.mark.parametrize("header", ["api-key", "x-api-key"])
    async def test_the_header_of_azure_s_clients_identifies_the_project(self, api: Api, header: str) -> None:
        async with httpx2.AsyncClient(base_url=api.one.base_url, headers={header: api.one.key}) as http:
            made = await http.post("/files", data={"purpose": "vision"}, files={"file": ("a", b"x")})
            assert made.status_code == 200
        async with api.http() as same, api.http(api.other) as other:
            assert (await same.get(f"/files/{made.json()['id']}")).status_code == 200
            assert (await other.get(f"/files/{made.json()['id']}")).status_code == 404

    async def test_refused_keys_are_throttled_in_whatever_header(self, gateway: tuple[Settings, str]) -> None:
        settings = dataclasses.replace(gateway[0], failed_keys_per_minute=3)
        with serving(settings) as base_url:
            tenant = await make_tenant(base_url, settings.database_url)
            async with httpx2.AsyncClient(base_url=base_url) as http:
                wrong: list[dict[str, str]] = [
                    {"authorization": f"Bearer {new_key('project')}"},
                    {"api-key": new_key("project")},
                    {"api-key": tenant.key, "authorization": "Bearer other"},
                    {"api-key": new_key("project")},
                    {"x-api-key": "nonsense"},
                ]
                statuses = [(await http.get("/files", headers=each)).status_code for each in wrong]
                assert statuses == [401, 401, 401, 429, 429]
                assert (await http.get("/files", headers={"api-key": tenant.key})).status_code == 200
