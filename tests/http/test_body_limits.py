"""Bodies within their limits of time, memory, depth and values, at every kind of route; and concurrent inference."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from service.http.bodies import MAX_QUERY_PARAMETERS
from service.http.body_pace import MIN_BYTES_PER_SECOND
from service.settings import Settings
from tests.http.fixtures import Api, serving
from tests.http.test_uploads import HEAD, TYPE
from tests.wire import Tenant, make_tenant, refusal

MAX_MEMORY_BYTES = 4 * 1024 * 1024
JSON = {"content-type": "application/json"}


def nested(levels: int, opening: str = "[", closing: str = "]", leaf: str = "") -> str:
    """A value that is nested this deep."""
    return opening * levels + leaf + closing * levels


BODIES = [
    ("/chat/completions", '{"model":"gpt-4o-mini","messages":%s}'),
    ("/chat/completions", '{"model":"gpt-4o-mini","messages":[],"anything":%s}'),
    ("/completions", '{"model":"babbage-002","prompt":%s}'),
    ("/fine_tuning/jobs", '{"model":"gpt-4o-mini","training_file":"file-x","metadata":%s}'),
    ("/fine_tuning/quotes", '{"model":"gpt-4o-mini","training_file":"file-x","method":%s}'),
    ("/model_comparisons/quotes", '{"models":["gpt-4o-mini"],"file":"file-x","graders":%s}'),
    ("/dataset_generations/quotes", '{"topics":["a"],"n_per_topic":1,"model":"gpt-4o-mini","tools":%s}'),
    ("/webhook_endpoints", "%s"),
    ("/uploads", '{"filename":%s}'),
]


class TestJson:
    @pytest.mark.parametrize(("path", "body"), BODIES)
    async def test_too_deep(self, api: Api, path: str, body: str) -> None:
        async with api.http() as http:
            for value in (nested(129), nested(500), nested(50_000), nested(700, '{"a":', "}", '"\\u0000"')):
                refused = await http.post(path, content=body % value, headers=JSON)
                assert (refused.status_code, refusal(refused)["code"]) == (400, "invalid_json"), len(value)
                assert "128 levels" in refusal(refused)["message"]

    @pytest.mark.parametrize(("path", "body"), BODIES)
    async def test_too_many_values(self, api: Api, path: str, body: str) -> None:
        async with api.http() as http:
            refused = await http.post(path, content=body % ("[" + "[]," * 260_000 + "[]]"), headers=JSON)
        assert (refused.status_code, refusal(refused)["code"]) == (400, "invalid_json")
        assert "250,000 values" in refusal(refused)["message"]

    async def test_prompt_of_the_longest_context_is_read(self, api: Api) -> None:
        """It is refused later, because no upstream runs here."""
        body = {"model": "babbage-002", "prompt": list(range(128_000)), "max_tokens": 1}
        async with api.http() as http:
            answer = await http.post("/completions", json=body)
        assert answer.status_code == 503, answer.text

    async def test_brackets_in_texts_do_not_count(self, api: Api) -> None:
        body = {"model": "no-such-model", "messages": [{"role": "user", "content": '[{,"\\' * 100_000}]}
        async with api.http() as http:
            answer = await http.post("/chat/completions", json=body)
        assert answer.status_code == 404


class TestQuery:
    async def test_too_many_parameters(self, api: Api) -> None:
        async with api.http() as http:
            for path in ("/files", "/fine_tuning/jobs", "/files/file-x"):
                refused = await http.get(f"{path}?{'&'.join(['a=b'] * (MAX_QUERY_PARAMETERS + 1))}")
                assert refused.status_code == 400
                assert "100 query parameters" in refusal(refused)["message"]


@pytest.fixture(scope="module")
def strict(gateway: tuple[Settings, str]) -> Iterator[str]:
    """An API with little memory for each project, two places for inference and little time for bodies."""
    settings = dataclasses.replace(
        gateway[0],
        max_project_memory_bytes=MAX_MEMORY_BYTES,
        json_body_seconds=4.0,
        body_idle_seconds=2.0,
    )
    with serving(settings) as base_url:
        yield base_url


@pytest.fixture
async def tenants(strict: str, gateway: tuple[Settings, str]) -> list[Tenant]:
    """Two fresh projects at that API."""
    return [await make_tenant(strict, gateway[0].database_url) for _ in range(2)]


@asynccontextmanager
async def client(who: Tenant) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a project."""
    headers = {"authorization": f"Bearer {who.key}"}
    async with httpx2.AsyncClient(base_url=who.base_url, headers=headers, timeout=90) as http:
        yield http


class Raw:
    """A request written by hand, whose body may stop: an HTTP client reads no response before it has sent all."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def post(cls, who: Tenant, path: str, headers: dict[str, str], body: bytes) -> "Raw":
        parts = urlsplit(who.base_url)
        raw = cls(*await asyncio.open_connection(parts.hostname, parts.port))
        lines = {"host": "a", "authorization": f"Bearer {who.key}", **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        raw.writer.write(f"POST /v1{path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        return raw

    async def refused(self) -> tuple[int, str, str]:
        """Status, code and message of the response, before the body's end."""
        async with asyncio.timeout(60):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            body = await self.reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
        assert "connection: close" in head
        error = json.loads(body)["error"]
        return int(head.split()[1]), error["code"], error["message"]

    async def refused_while_sending(self, piece: bytes) -> tuple[int, str, str]:
        """The refusal, until which more of the body is sent five times a second."""
        refusing = asyncio.create_task(self.refused())
        while not refusing.done():
            self.writer.write(piece)
            await asyncio.wait({refusing}, timeout=0.2)
        return await refusing


class TestTime:
    @pytest.mark.parametrize("length", [{"content-length": "100"}, {"transfer-encoding": "chunked"}])
    @pytest.mark.parametrize("media", ["application/json", "multipart/form-data; boundary=b"])
    async def test_body_that_does_not_go_on(self, tenants: list[Tenant], media: str, length: dict[str, str]) -> None:
        path = "/files" if media.startswith("multipart") else "/chat/completions"
        raw = await Raw.post(tenants[0], path, {"content-type": media, **length}, b"1\r\n{\r\n")
        status, code, message = await raw.refused()
        assert (status, code) == (408, "request_timeout")
        assert "TUNEGATE_BODY_IDLE_SECONDS" in message

    async def test_json_that_never_ends(self, tenants: list[Tenant]) -> None:
        """Each fifth of a second it gets what two seconds need."""
        raw = await Raw.post(tenants[0], "/chat/completions", {**JSON, "content-length": "1000000"}, b"{")
        status, code, message = await raw.refused_while_sending(b" " * 2 * MIN_BYTES_PER_SECOND)
        assert (status, code) == (408, "request_timeout")
        assert "TUNEGATE_JSON_BODY_SECONDS" in message

    async def test_file_that_comes_too_slowly(self, tenants: list[Tenant]) -> None:
        """It never pauses, and its headers and first bytes have come at once."""
        raw = await Raw.post(tenants[0], "/files", {**TYPE, "content-length": "90000"}, HEAD % b"vision" + b"x" * 4000)
        status, code, message = await raw.refused_while_sending(b"x")
        assert (status, code) == (408, "request_timeout")
        assert f"less than {MIN_BYTES_PER_SECOND:,} bytes a second over 2 s" in message


class TestMemory:
    def body(self, size: int) -> bytes:
        """A body of this size, for a model that does not exist."""
        return json.dumps({"model": "none", "messages": "x" * size}).encode()

    async def test_of_one_body(self, tenants: list[Tenant]) -> None:
        async with client(tenants[0]) as http:
            refused = await http.post("/chat/completions", content=self.body(MAX_MEMORY_BYTES // 2), headers=JSON)
            read = await http.post("/chat/completions", content=self.body(MAX_MEMORY_BYTES // 4), headers=JSON)
        assert (refused.status_code, refusal(refused)["code"]) == (429, "memory_limit_exceeded")
        assert refused.headers["retry-after"] == "1"
        assert "TUNEGATE_MAX_PROJECT_MEMORY_BYTES" in refusal(refused)["message"]
        assert read.status_code == 404

    async def test_is_counted_before_it_comes_and_released_afterwards(self, tenants: list[Tenant]) -> None:
        """A body announces nearly all; until it is refused the project's others are, and those of another are not."""
        small: dict[str, Any] = {"content": self.body(50_000), "headers": JSON}
        size_bytes = str(MAX_MEMORY_BYTES // 2 - 10_000)
        announced = {**JSON, "content-length": size_bytes, "expect": "100-continue"}
        async with client(tenants[0]) as http, client(tenants[1]) as other:
            raw = await Raw.post(tenants[0], "/chat/completions", announced, b"{")
            assert (await raw.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            refusing = asyncio.create_task(raw.refused())
            statuses = set()
            while not refusing.done():
                statuses.add((await http.post("/chat/completions", **small)).status_code)
                assert (await other.post("/chat/completions", **small)).status_code == 404
            assert (await refusing)[0] == 408
            assert 429 in statuses
            assert (await http.post("/chat/completions", **small)).status_code == 404
