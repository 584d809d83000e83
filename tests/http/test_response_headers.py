"""What responses tell browsers and caches, and what may not stand in a header or a name."""

import asyncio
import base64
import dataclasses
import hashlib
import re
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from service.http.client_address import is_tls
from service.http.docs import STYLE
from service.http.middleware import STRICT_TRANSPORT, security_headers
from service.settings import Settings
from tests.http.fixtures import Api, serving
from tests.wire import refusal

ACCOUNT = {"kind": "openai", "base_url": "https://api.openai.com/v1"}
ENDPOINT = {"url": "https://example.com/hook", "name": "x", "event_types": ["file.processed"]}
CREDENTIAL = "sk-0123456789"


def root(api: Api) -> str:
    """The address of the pages."""
    parts = urlsplit(api.one.base_url)
    return f"{parts.scheme}://{parts.netloc}"


class TestEveryResponse:
    @pytest.mark.parametrize("path", ["/livez", "/docs", "/openapi.yaml", "/v1/files", "/nowhere"])
    async def test_types_are_as_they_say(self, api: Api, path: str) -> None:
        async with api.http() as http:
            assert (await http.get(root(api) + path)).headers["x-content-type-options"] == "nosniff"

    def test_hosts_are_for_tls_if_the_request_used_it(self) -> None:
        plain: Any = {"type": "http", "scheme": "http"}
        encrypted: Any = {"type": "http", "scheme": "https"}
        assert not is_tls(plain)
        assert STRICT_TRANSPORT not in security_headers(plain)
        assert STRICT_TRANSPORT in security_headers(encrypted)

    @pytest.mark.parametrize(("trusted", "sent"), [("127.0.0.0/8", True), ("10.0.0.0/8", False), ("", False)])
    async def test_the_use_of_tls_is_what_a_trusted_proxy_reports(
        self, gateway: tuple[Settings, str], trusted: str, sent: bool
    ) -> None:
        settings = dataclasses.replace(gateway[0], trusted_proxies=trusted)
        with serving(settings) as base_url:
            async with httpx2.AsyncClient(headers={"x-forwarded-proto": "https"}, timeout=90) as http:
                answers = [await http.get(base_url.removesuffix("/v1") + path) for path in ("/livez", "/v1/files")]
                plain = await http.get(f"{base_url}/files", headers={"x-forwarded-proto": "http"})
        assert [answer.status_code for answer in answers] == [200, 401]
        assert [STRICT_TRANSPORT[0].decode() in answer.headers for answer in answers] == [sent, sent]
        assert STRICT_TRANSPORT[0].decode() not in plain.headers


class TestPage:
    async def test_loads_and_runs_nothing(self, api: Api) -> None:
        async with api.http() as http:
            page = await http.get(root(api) + "/docs")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in policy
        assert f"<style>{STYLE}</style>" in page.text
        assert re.findall(r"(?i)<script|<img|<link|<iframe| on[a-z]+=| style=|src=", page.text) == []


class TestSecrets:
    async def test_no_cache_stores_a_response_with_a_secret(self, api: Api) -> None:
        async with api.http() as http:
            created = await http.post("/webhook_endpoints", json=ENDPOINT)
            shown = await http.get(f"/webhook_endpoints/{created.json()['id']}")
        assert created.status_code == 200, created.text
        (secret,) = re.findall(r"whsec_[A-Za-z0-9+/]{30,}=*", created.text)
        assert created.headers["cache-control"] == "no-store"
        assert secret not in shown.text


class TestControlCharacters:
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\x7f", "\t", "\x1b"])
    @pytest.mark.parametrize("field", ["credential", "name", "api_version"])
    async def test_in_an_account(self, api: Api, field: str, end: str) -> None:
        body = {**ACCOUNT, "name": "mine", "credential": CREDENTIAL, "api_version": "2024-10-21"}
        async with api.http() as http:
            refused = await http.post("/upstreams", json={**body, field: body[field] + end})
        assert refused.status_code == 400
        assert refusal(refused)["param"] == field

    @pytest.mark.parametrize("end", ["\n", "\x00"])
    @pytest.mark.parametrize(
        ("path", "body", "field"),
        [
            (
                "/webhook_endpoints",
                ENDPOINT,
                "name",
            ),
            ("/model_aliases", {"name": "support", "model": "gpt-4o-mini"}, "name"),
        ],
    )
    async def test_in_a_name(self, api: Api, path: str, body: dict[str, Any], field: str, end: str) -> None:
        async with api.http() as http:
            refused = await http.post(path, json={**body, field: f"{body[field]}{end}"})
        assert (refused.status_code, refusal(refused)["param"]) == (400, field)

    async def test_in_a_deployment(self, api: Api) -> None:
        body = {**ACCOUNT, "name": "mine", "credential": CREDENTIAL, "deployments": {"gpt-4o": "mine\n"}}
        async with api.http() as http:
            assert (await http.post("/upstreams", json=body)).status_code == 400

    @pytest.mark.parametrize("header", ["authorization", "idempotency-key"])
    async def test_in_a_header(self, api: Api, header: str) -> None:
        """The HTTP client refuses to send some, so the request is written by hand."""
        parts = urlsplit(api.one.base_url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        lines = {"host": "a", "authorization": f"Bearer {api.one.key}", "connection": "close", "content-length": "0"}
        lines[header] = lines.get(header, "x") + "\x01\x00"
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"POST /v1/uploads HTTP/1.1\r\n{head}\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 60)
        assert answer.startswith(b"HTTP/1.1 400"), answer
        assert b'"code":"invalid_request"' in answer
