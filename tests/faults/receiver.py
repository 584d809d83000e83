"""A receiver of webhooks that errs on command and remembers which event came to which project's endpoint."""

import asyncio
import contextlib
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

THANKS = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
ERRORS: dict[str, bytes] = {
    "500": b"HTTP/1.1 500 X\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno",
    "429": b"HTTP/1.1 429 X\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    "503": b"HTTP/1.1 503 X\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    "302": b"HTTP/1.1 302 X\r\nlocation: /elsewhere\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    "garbage": b"\x00\xff not http at all\r\n\r\n",
    "reset": b"",
    "hang": b"",
}
"""What it may answer instead of thanks; nothing is remembered then, as if the receiver had failed to act on it."""


@dataclass(slots=True)
class Receiver:
    """Endpoints are paths. `errors` are used up by the next requests, one each. `shown_port` is a proxy's, if any."""

    port: int = 0
    shown_port: int = 0
    received: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: defaultdict(dict))
    arrivals: int = 0
    errors: deque[str] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str) -> str:
        """The address of an endpoint."""
        return f"http://127.0.0.1:{self.shown_port or self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.arrivals += 1
            self.arrived.set()
            error = self.errors.popleft() if self.errors else None
            if error == "reset":
                writer.transport.abort()
            elif error == "hang":
                await asyncio.wait_for(reader.read(), 30)
            else:
                if error is None:
                    self.received[head[0].split(" ")[1]][headers.get("webhook-id", "")] = json.loads(body)
                writer.write(THANKS if error is None else ERRORS[error])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass
        finally:
            with contextlib.suppress(ConnectionError):
                writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver that listens until the block ends."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, backlog=512)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
