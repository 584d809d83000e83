"""A project may have only so many requests, uploads, downloads, exports and open uploads in progress."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from service.database.tables import PendingUpload
from service.errors import RateLimited
from service.http import concurrent_requests
from service.http.concurrent_requests import MAX_EXPORTS, Exports
from service.settings import Settings
from tests.http.fixtures import MAX_DOWNLOADS, MAX_OPEN_UPLOADS, MAX_UPLOADS, Api, serving
from tests.http.test_body_limits import JSON, Raw, client
from tests.http.test_uploads import HEAD, TYPE
from tests.wire import make_tenant, refusal

FILE: Any = {"data": {"purpose": "vision"}, "files": {"file": ("a", b"x")}}
ANNOUNCED = {"filename": "a", "purpose": "vision", "bytes": 10, "mime_type": "image/png"}
LARGE_BYTES = 32 * 1024 * 1024


async def test_requests_in_progress_have_a_maximum_for_each_project(gateway: tuple[Settings, str]) -> None:
    """Two wait for their bodies; the third is refused before its own has come, whatever it asks for."""
    settings = dataclasses.replace(gateway[0], max_concurrent_requests=2)
    waiting = {**JSON, "content-length": "100"}
    with serving(settings) as base_url:
        one, other = [await make_tenant(base_url, settings.database_url) for _ in range(2)]
        slow = [
            await Raw.post(one, path, waiting, b"{") for path in ("/chat/completions", "/webhook_endpoints", "/uploads")
        ]
        answers = [asyncio.create_task(each.reader.readline()) for each in slow]
        done, _ = await asyncio.wait(answers, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        assert [each.result().startswith(b"HTTP/1.1 429") for each in done] == [True]
        async with client(one) as http, client(other) as theirs:
            refused = await http.get("/files")
            assert (refused.status_code, refusal(refused)["code"]) == (429, "rate_limit_exceeded")
            assert "2 requests in progress" in refused.text
            assert "TUNEGATE_MAX_CONCURRENT_REQUESTS" in refused.text
            assert (refused.headers["retry-after"], refused.headers["x-should-retry"]) == ("1", "true")
            assert (await theirs.get("/files")).status_code == 200
            for each in slow:
                each.writer.transport.abort()
            await asyncio.gather(*answers, return_exceptions=True)
            async with asyncio.timeout(20):
                while (await http.get("/files")).status_code != 200:
                    await asyncio.sleep(0.05)


async def test_uploads_in_progress_have_a_maximum_for_each_project(api: Api) -> None:
    end = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield HEAD % b"vision"
        yield b"x"
        await end.wait()
        yield b"\r\n--b--\r\n"

    async with api.http() as http:
        slow = [asyncio.create_task(http.post("/files", content=body(), headers=TYPE)) for _ in range(MAX_UPLOADS)]
        try:
            async with asyncio.timeout(60):
                while await _written(api) < MAX_UPLOADS:
                    await asyncio.sleep(0.05)
            answer = await http.post("/files", **FILE)
            assert (answer.status_code, refusal(answer)["code"]) == (429, "rate_limit_exceeded")
            assert f"{MAX_UPLOADS} uploads in progress" in answer.text
            assert "TUNEGATE_MAX_CONCURRENT_UPLOADS" in answer.text
            assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("1", "true")
            part = await http.post("/uploads/upload_none/parts", files={"data": ("a", b"x")})
            completed = await http.post("/uploads/upload_none/complete", json={"part_ids": ["part_none"]})
            assert (part.status_code, completed.status_code) == (429, 429)
            assert (await http.get("/files")).status_code == 200
            async with api.http(api.other) as theirs:
                assert (await theirs.post("/files", **FILE)).status_code == 200
        finally:
            end.set()
        assert [each.status_code for each in await asyncio.gather(*slow)] == [200] * MAX_UPLOADS
        assert (await http.post("/files", **FILE)).status_code == 200


async def _written(api: Api) -> int:
    """How many uploads are being written."""
    async with api.rows() as session:
        return await session.scalar(select(func.count()).select_from(PendingUpload)) or 0


async def test_open_uploads_have_a_maximum_for_each_project(api: Api) -> None:
    async with api.http() as http, api.http(api.other) as theirs:
        opened = [await http.post("/uploads", json=ANNOUNCED) for _ in range(MAX_OPEN_UPLOADS)]
        refused = await http.post("/uploads", json=ANNOUNCED)
        assert (refused.status_code, refusal(refused)["code"]) == (429, "too_many_uploads")
        assert "TUNEGATE_MAX_OPEN_UPLOADS" in refused.text
        assert (await theirs.post("/uploads", json=ANNOUNCED)).status_code == 200
        assert (await http.post(f"/uploads/{opened[0].json()['id']}/cancel")).status_code == 200
        assert (await http.post("/uploads", json=ANNOUNCED)).status_code == 200


async def test_an_export_is_counted_until_its_stream_ends() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"

    exports = Exports()
    places = [exports.begin("proj_a") for _ in range(MAX_EXPORTS)]
    with pytest.raises(RateLimited, match=f"{MAX_EXPORTS} exports in progress"):
        exports.begin("proj_a")
    exports.begin("proj_b")
    stream = places[0].stream(chunks(), headers={})
    assert [chunk async for chunk in stream.iterator] == [b"a"]  # type: ignore[union-attr]
    places[0].release()
    exports.begin("proj_a")
    with pytest.raises(RateLimited):
        exports.begin("proj_a")


async def test_downloads_in_progress_have_a_maximum_for_each_project(api: Api) -> None:
    async with api.http() as http, api.http(api.other) as theirs:
        path = f"/files/{await _large_file(http)}/content"
        async with AsyncExitStack() as unread:
            for _ in range(MAX_DOWNLOADS):
                answer = await unread.enter_async_context(http.stream("GET", path))
                assert answer.status_code == 200
                assert answer.headers["content-type"] == "application/octet-stream"
            refused = await http.get(path)
            assert (refused.status_code, refusal(refused)["code"]) == (429, "rate_limit_exceeded")
            assert f"{MAX_DOWNLOADS} downloads in progress" in refused.text
            assert "TUNEGATE_MAX_CONCURRENT_DOWNLOADS" in refused.text
            assert (await http.get("/files")).status_code == 200
            their_file = (await theirs.post("/files", **FILE)).json()["id"]
            assert (await theirs.get(f"/files/{their_file}/content")).content == b"x"
        async with asyncio.timeout(60):
            while (answer := await http.get(path)).status_code == 429:
                await asyncio.sleep(0.05)
        assert len(answer.content) == LARGE_BYTES
        for _ in range(2 * MAX_DOWNLOADS):
            assert (await http.get("/files/file-none/content")).status_code == 404
        assert (await http.get(path)).status_code == 200


async def _large_file(http: httpx2.AsyncClient) -> str:
    """A file of more bytes than the buffers of a connection take."""
    announced = ANNOUNCED | {"bytes": LARGE_BYTES}
    path = f"/uploads/{(await http.post('/uploads', json=announced)).json()['id']}"
    part = (await http.post(f"{path}/parts", files={"data": ("a", b"x" * LARGE_BYTES)})).json()["id"]
    file_id: str = (await http.post(f"{path}/complete", json={"part_ids": [part]})).json()["file"]["id"]
    return file_id


async def test_the_route_of_cases_counts_exports(
    api: Api, gateway: tuple[Settings, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any place every export is refused, before it is looked up. A page of cases needs none."""
    monkeypatch.setattr(concurrent_requests, "MAX_EXPORTS", 0)
    with serving(gateway[0]) as base_url:
        async with api.http(dataclasses.replace(api.one, base_url=base_url)) as http:
            cases = "/model_comparisons/cmp_none/cases"
            for format in ("csv", "jsonl"):
                refused = await http.get(cases, params={"format": format})
                assert (refused.status_code, refusal(refused)["code"]) == (429, "rate_limit_exceeded")
            assert (await http.get(cases)).status_code == 404
