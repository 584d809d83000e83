"""A receiver of webhooks in a process of its own, which records when each event arrived at which path."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from multiprocessing.connection import Connection

import uvloop

QUIET_SECONDS = 60.0
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Receiver:
    """A process that answers `/hang` never and every other path at once."""

    def __init__(self) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_receive, args=(theirs,), daemon=True)
        self._process.start()
        self.port: int = self._ours.recv()

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._process.pid or 0

    def arrivals(self, expected: set[str], *, check_seconds: float = 0.2) -> dict[str, float]:
        """When each of these (event and path) first arrived, in Unix seconds, once all have."""
        deadline = time.monotonic() + QUIET_SECONDS + len(expected) / 20
        while time.monotonic() < deadline:
            time.sleep(check_seconds)
            self._ours.send(None)
            arrived: dict[str, float] = self._ours.recv()
            if expected <= arrived.keys():
                return arrived
        raise SystemExit(f"{len(expected - arrived.keys())} deliveries do not arrive")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.join()


def _receive(pipe: Connection) -> None:
    arrived: dict[str, float] = {}

    class Request(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._transport, self._received, self._size = transport, b"", 0

        def data_received(self, data: bytes) -> None:
            self._received += data
            if not self._size:
                head, end, _ = self._received.partition(b"\r\n\r\n")
                if not end:
                    return
                self._head = head.lower()
                self._size = len(head) + len(end) + int(self._field(b"content-length"))
            if len(self._received) >= self._size and not self._head.startswith(b"post /hang"):
                path = self._head.split(b" ", 2)[1].decode()
                arrived.setdefault(f"{self._field(b'webhook-id').decode()} {path}", time.time())
                self._transport.write(OK)  # type: ignore[attr-defined]
                self._transport.close()

        def _field(self, name: bytes) -> bytes:
            return self._head.partition(name + b":")[2].partition(b"\r\n")[0].strip()

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Request, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        while True:
            await asyncio.to_thread(pipe.recv)
            pipe.send(dict(arrived))

    uvloop.run(main())
