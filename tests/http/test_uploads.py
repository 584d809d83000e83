"""Uploads that are refused or cut leave nothing behind: no object, no row."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, select

from service.database.tables import File, PendingUpload
from tests.http.fixtures import Api
from tests.wire import refusal

HEAD = (
    b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n%s\r\n'
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
)
TYPE = {"content-type": "multipart/form-data; boundary=b"}


async def nothing_left(api: Api) -> bool:
    """Whether neither storage nor tables know of an upload."""
    async with api.rows() as session:
        rows = [await session.scalar(select(func.count()).select_from(table)) for table in (File, PendingUpload)]
    return rows == [0, 0] and api.objects() == []


async def settled(api: Api) -> None:
    """Wait until nothing is left."""
    async with asyncio.timeout(60):
        while not await nothing_left(api):
            await asyncio.sleep(0.05)


class TestRefused:
    async def test_by_size_while_it_comes_in(self, api: Api) -> None:
        async with api.http() as http:
            answer = await http.post("/files", data={"purpose": "vision"}, files={"file": ("a", b"x" * 100_001)})
            error = refusal(answer)
            assert (answer.status_code, error["param"], error["code"]) == (413, "file", "file_too_large")
            assert "100,000 bytes" in error["message"]
            await settled(api)
            largest = await http.post("/files", data={"purpose": "vision"}, files={"file": ("a", b"x" * 100_000)})
        assert largest.status_code == 200

    async def test_by_size_long_before_the_end(self, api: Api) -> None:
        """Twenty megabytes are announced and refused after the first hundred thousand bytes."""
        sent = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal sent
            yield HEAD % b"vision"
            for _ in range(320):
                sent += 65_536
                yield b"x" * 65_536
                await asyncio.sleep(0.005)
            yield b"\r\n--b--\r\n"

        async with api.http() as http:
            answer = await http.post("/files", content=body(), headers=TYPE)
        assert (answer.status_code, refusal(answer)["code"]) == (413, "file_too_large")
        await settled(api)

    @pytest.mark.parametrize("purpose", [b"evals", b"nothing"])
    async def test_by_purpose(self, api: Api, purpose: bytes) -> None:
        content = HEAD % purpose + b"x" * 50_000 + b"\r\n--b--\r\n"
        async with api.http() as http:
            answer = await http.post("/files", content=content, headers=TYPE)
        assert (answer.status_code, refusal(answer)["code"]) == (400, "invalid_purpose")
        assert await nothing_left(api)

    async def test_by_a_purpose_that_comes_after_the_file(self, api: Api) -> None:
        content = (
            b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nxyz\r\n'
            b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nevals\r\n--b--\r\n'
        )
        async with api.http() as http:
            answer = await http.post("/files", content=content, headers=TYPE)
            assert (answer.status_code, refusal(answer)["code"]) == (400, "invalid_purpose")
            assert await nothing_left(api)
            accepted = await http.post("/files", content=content.replace(b"evals", b"batch"), headers=TYPE)
        assert accepted.status_code == 200

    async def test_with_a_body_that_ends_early(self, api: Api) -> None:
        async with api.http() as http:
            answer = await http.post("/files", content=HEAD % b"vision" + b"x" * 50_000, headers=TYPE)
        assert (answer.status_code, refusal(answer)["code"]) == (400, "invalid_multipart")
        assert await nothing_left(api)

    async def test_with_two_files(self, api: Api) -> None:
        two = HEAD % b"vision" + b'x\r\n--b\r\ncontent-disposition: form-data; name="file"; filename="b"\r\n\r\ny\r\n'
        async with api.http() as http:
            answer = await http.post("/files", content=two + b"--b--\r\n", headers=TYPE)
        assert (answer.status_code, refusal(answer)["param"]) == (400, "file")
        assert await nothing_left(api)


async def test_cut_in_the_middle(api: Api) -> None:
    """The caller hangs up while the file comes in."""
    address = urlsplit(api.one.base_url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {api.one.key}\r\n"
    writer.write(head.encode() + b"content-type: multipart/form-data; boundary=b\r\ncontent-length: 90000\r\n\r\n")
    writer.write(HEAD % b"vision" + b"x" * 40_000)
    await writer.drain()
    async with asyncio.timeout(60):
        while True:
            async with api.rows() as session:
                if await session.scalar(select(func.count()).select_from(PendingUpload)):
                    break
            await asyncio.sleep(0.02)
    writer.transport.abort()
    await settled(api)
