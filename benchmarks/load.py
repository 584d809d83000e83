"""Sends one request again and again over connections that stay open, from a process of its own, and times the answers.

A client of the field (httpx2, the SDK) uses more CPU time for a request than the service does; on a machine with two cores that
would measure the client. This one writes the same bytes each time and reads an answer by its `content-length` or
chunks. Every answer must have the expected status.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Load:
    """What was answered in a time: the number a second, and each answer's wait in milliseconds, in order of size."""

    per_second: float
    waits_ms: Sequence[float]

    @property
    def answers(self) -> int:
        """How many answers came."""
        return len(self.waits_ms)

    @property
    def p50_ms(self) -> float:
        """The median wait."""
        return statistics.median(self.waits_ms)

    @property
    def p99_ms(self) -> float:
        """The wait that 99 of 100 answers do not exceed."""
        return self.waits_ms[min(len(self.waits_ms) - 1, int(0.99 * len(self.waits_ms)))]


def request_bytes(method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A request of HTTP/1.1 as it is sent."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    fields = {"host": parts.netloc, **headers, **({"content-length": str(len(body))} if body else {})}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return head.encode("ascii") + b"\r\n" + body


class LoadGenerator:
    """A process that sends requests. `run` returns when the time is over and every answer has come."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_main, args=(theirs,), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid or 0

    def run(self, url: str, requests: Sequence[bytes], *, callers: int, seconds: float, status: int = 200) -> Load:
        """Let `callers` connections send for `seconds`, caller n always `requests[n % len(requests)]`.

        Raises `SystemExit` at an answer with another status.
        """
        parts = urlsplit(url)
        self._pipe.send((parts.hostname, parts.port, list(requests), callers, seconds, status))
        result = self._pipe.recv()
        if isinstance(result, str):
            raise SystemExit(result)
        waits, took = result
        return Load(len(waits) / took, sorted(waits))

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()


class _Caller(asyncio.Protocol):
    """One connection: writes the request, reads its answer, and writes it again until the time is over."""

    def __init__(self, request: bytes, until: float, status: int, waits: list[float]) -> None:
        self._request, self._until, self._waits = request, until, waits
        self._expected = f" {status} ".encode()
        self._buffer = bytearray()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not (size := _complete(self._buffer)):
            return
        self._waits.append((time.perf_counter() - self._started) * 1000)
        if self._expected not in self._buffer[:16]:
            self._end(f"an answer is not the expected one: {bytes(self._buffer[:800])!r}")
            return
        del self._buffer[:size]
        if time.perf_counter() < self._until:
            self._send()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self._end(f"a connection was closed: {exc!r}")

    def _send(self) -> None:
        self._started = time.perf_counter()
        self._transport.write(self._request)

    def _end(self, fault: str | None) -> None:
        if fault is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(RuntimeError(fault))
        self._transport.close()


def _complete(buffer: bytearray) -> int:
    """The size of the answer at the buffer's start, head included; 0 while it is incomplete."""
    end = buffer.find(b"\r\n\r\n") + 4
    if end < 4:
        return 0
    head = bytes(buffer[:end]).lower()
    if b"transfer-encoding: chunked" in head:
        last = buffer.find(b"0\r\n\r\n", end - 2)
        return last + 5 if last >= 0 else 0
    at = head.find(b"content-length:")
    if at < 0:
        return end
    size = end + int(head[at + 15 : head.index(b"\r\n", at)])
    return size if len(buffer) >= size else 0


def _main(pipe: Connection) -> None:
    import uvloop

    while True:
        host, port, requests, callers, seconds, status = pipe.recv()
        try:
            pipe.send(uvloop.run(_load(host, port, requests, callers, seconds, status)))
        except Exception as error:
            pipe.send(f"{type(error).__name__}: {error}")


async def _load(
    host: str, port: int, requests: list[bytes], callers: int, seconds: float, status: int
) -> tuple[list[float], float]:
    loop = asyncio.get_running_loop()
    waits: list[float] = []
    began = time.perf_counter()
    made = [
        await loop.create_connection(
            lambda number=number: _Caller(requests[number % len(requests)], began + seconds, status, waits), host, port
        )
        for number in range(callers)
    ]
    await asyncio.gather(*(caller.ended for _, caller in made))
    return waits, time.perf_counter() - began
