"""What arrives before a key can be checked: headers by bytes, number and time, and connections that send nothing."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn

from service.http.protocol import MAX_PIPELINED, LimitedProtocol, limited_protocol
from service.settings import Settings

MAX_BYTES = 4096
BOUNDS: dict[str, Any] = {"max_header_bytes": MAX_BYTES, "max_headers": 10, "max_connections_without_request": 20}
WAIT_SECONDS = 30


class Client:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Send; a server that has closed the connection is no error."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            return

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next response."""
        async with asyncio.timeout(WAIT_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, body

    async def refused(self) -> tuple[int, str]:
        """Status and code of a refusal in OpenAI's form, after which the connection ends."""
        status, headers, body = await self.answer()
        assert headers["content-type"] == "application/json"
        assert headers["x-request-id"].startswith("req_")
        assert await self.ended()
        return status, json.loads(body)["error"]["code"]

    async def ended(self) -> bool:
        """Whether the server closes the connection without sending anything more."""
        async with asyncio.timeout(WAIT_SECONDS):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True


class Served:
    """A small app behind the protocol: it reads the body and answers with what it got."""

    def __init__(self) -> None:
        self.port = 0
        self.headers_after_body: list[tuple[bytes, bytes]] = []
        self.response_bytes = 0
        self.responded = asyncio.Event()
        self.let_go = asyncio.Event()
        self.let_go.set()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message["body"])
            if not message["more_body"]:
                break
        self.headers_after_body = list(scope["headers"])
        await self.let_go.wait()
        body = b"%d" % size + b" " * self.response_bytes
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        self.responded.set()

    async def connect(self) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", self.port))


@asynccontextmanager
async def served(**bounds: Any) -> AsyncIterator[Served]:
    """The server on a port."""
    running = Served()
    settings = Settings(**{**BOUNDS, **bounds})
    listening = socket.create_server(("127.0.0.1", 0))
    running.port = listening.getsockname()[1]
    config = uvicorn.Config(
        running.app, http=limited_protocol(settings), interface="asgi3", ws="none", lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield running
    finally:
        running.let_go.set()
        server.should_exit = server.force_exit = True
        await task


def get(size: int) -> bytes:
    """A request whose head has exactly `size` bytes."""
    start, end = b"GET / HTTP/1.1\r\nhost: a\r\nx: ", b"\r\n\r\n"
    return start + b"y" * (size - len(start) - len(end)) + end


class TestHeaders:
    async def test_as_many_bytes_as_allowed(self) -> None:
        async with served() as server:
            client = await server.connect()
            for _ in range(3):
                await client.send(get(MAX_BYTES))
                assert (await client.answer())[0] == 200

    @pytest.mark.parametrize("piece", [1, 100, 1 << 20])
    async def test_one_byte_more(self, piece: int) -> None:
        async with served() as server:
            client, request = await server.connect(), get(MAX_BYTES + 1)
            for start in range(0, len(request), piece):
                await client.send(request[start : start + piece])
            assert await client.refused() == (431, "header_too_large")

    @pytest.mark.parametrize(
        "endless",
        [
            (b"GET /", b"y" * 1000),
            (b"GET / HTTP/1.1\r\nhost: a\r\nx: ", b"y" * 1000),
            (b"GET / HTTP/1.1\r\nhost: a\r\n", b"y" * 1000),
            (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx: ", b"y" * 1000),
            (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1;x=", b"y" * 1000),
        ],
        ids=["path", "value", "name", "trailer", "extension of a chunk"],
    )
    async def test_endless(self, endless: tuple[bytes, bytes]) -> None:
        """Each is refused. Bytes that arrive together with bytes of a body are not counted, hence twice the bound."""
        start, more = endless
        async with served() as server:
            client = await server.connect()
            await client.send(start)
            for _ in range(2 * MAX_BYTES // len(more) + 2):
                await client.send(more)
            assert await client.refused() == (431, "header_too_large")

    @pytest.mark.parametrize("trailer", [False, True])
    async def test_number(self, trailer: bool) -> None:
        head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n"
        many = b"".join(b"x-%d: y\r\n" % n for n in range(9))
        async with served() as server:
            client = await server.connect()
            if trailer:
                await client.send(head + b"\r\n1\r\nx\r\n0\r\n" + many + b"\r\n")
            else:
                await client.send(head + many + b"\r\n1\r\nx\r\n0\r\n\r\n")
            assert await client.refused() == (431, "header_too_large")

    async def test_trailers_do_not_change_a_request(self) -> None:
        chunked = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
        async with served() as server:
            client = await server.connect()
            await client.send(chunked + b"authorization: Bearer other\r\n\r\n")
            assert (await client.answer())[2] == b"1"
            assert [name for name, _ in server.headers_after_body] == [b"host", b"transfer-encoding"]

    async def test_body_is_not_counted(self) -> None:
        async with served() as server:
            client = await server.connect()
            await client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 1_000_000)
            assert (await client.answer())[2] == b"1000000"
            pieces = b"".join(b"3e8\r\n" + b"x" * 1000 + b"\r\n" for _ in range(100))
            chunked = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
            await client.send(chunked + pieces + b"0\r\n\r\n")
            assert (await client.answer())[2] == b"100000"

    async def test_no_http(self) -> None:
        async with served() as server:
            client = await server.connect()
            await client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
            assert await client.refused() == (400, "invalid_request")

    async def test_upgrade_is_an_ordinary_request(self) -> None:
        async with served() as server:
            client = await server.connect()
            await client.send(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
            assert (await client.answer())[0] == 200

    async def test_pipelined(self) -> None:
        """A few requests are answered in order; with too many waiting, the connection ends."""
        async with served() as server:
            client = await server.connect()
            await client.send(get(100) * 10)
            assert [(await client.answer())[0] for _ in range(10)] == [200] * 10
            server.let_go.clear()
            await client.send(get(100) * (MAX_PIPELINED + 2))
            assert await client.ended()


class TestTime:
    async def test_head_that_is_never_complete(self) -> None:
        async with served(header_seconds=0.3) as server:
            client = await server.connect()
            await client.send(b"GET / HTTP/1.1\r\nhost: a\r\n")
            assert await client.refused() == (408, "request_timeout")

    async def test_second_head_that_is_never_complete(self) -> None:
        async with served(header_seconds=0.3) as server:
            client = await server.connect()
            await client.send(get(100))
            assert (await client.answer())[0] == 200
            await client.send(b"GET / HTTP/1.1\r\nhost: a\r\n")
            assert await client.refused() == (408, "request_timeout")

    async def test_nothing_sent(self) -> None:
        async with served(header_seconds=0.3) as server:
            assert await (await server.connect()).ended()

    async def test_client_that_accepts_nothing_of_its_response(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The app waits until the connection ends, and then goes on."""
        monkeypatch.setattr(LimitedProtocol, "send_seconds", 0.3)
        async with served() as server:
            server.response_bytes = 64 * 1024 * 1024
            client = await server.connect()
            await client.send(get(100))
            await asyncio.wait_for(server.responded.wait(), WAIT_SECONDS)
            received = 0
            with suppress(ConnectionError):
                while piece := await client.reader.read(1 << 20):
                    received += len(piece)
            assert received < server.response_bytes

    async def test_client_that_accepts_its_response_slowly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It takes several times as long as a client may accept nothing."""
        monkeypatch.setattr(LimitedProtocol, "send_seconds", 1.0)
        async with served() as server:
            server.response_bytes = 64 * 1024 * 1024
            client = await server.connect()
            await client.send(get(100))
            await client.reader.readuntil(b"\r\n\r\n")
            for _ in range(16):
                await client.reader.readexactly(4 * 1024 * 1024)
                await asyncio.sleep(0.15)

    async def test_request_in_progress_is_not_ended(self) -> None:
        async with served(header_seconds=0.2) as server:
            client, idle = await server.connect(), await server.connect()
            server.let_go.clear()
            await client.send(get(100))
            assert await idle.ended()
            server.let_go.set()
            assert (await client.answer())[0] == 200


class TestConnections:
    async def test_oldest_of_too_many_without_a_request_is_closed(self) -> None:
        """One more than allowed send nothing; one that is being answered does not count, and is not closed."""
        async with served(header_seconds=10 * WAIT_SECONDS) as server:
            server.let_go.clear()
            busy = await server.connect()
            await busy.send(get(100))
            idle = [await server.connect() for _ in range(21)]
            assert await idle[0].ended()
            server.let_go.set()
            assert (await busy.answer())[0] == 200
            await idle[-1].send(get(100))
            assert (await idle[-1].answer())[0] == 200
