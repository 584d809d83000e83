"""Requests as prepared bytes over sockets of their own: what they cost this machine is spent by the service."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

Address = tuple[str, int]

MAX_ANSWER_BYTES = 1_000_000
CHUNK_BYTES = 1 << 16
BOUNDARY = "neighbours-boundary"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. The status is 0 where the connection ended without an answer."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


def request(
    method: str,
    path: str,
    *,
    key: str = "",
    body: bytes | None = None,
    content_type: str = "application/json",
    headers: tuple[str, ...] = (),
) -> bytes:
    """A whole request, after which the connection is closed."""
    lines = [f"{method} {path} HTTP/1.1", "host: tunegate", "connection: close", *headers]
    if key:
        lines.append(f"authorization: Bearer {key}")
    if body is not None:
        lines += [f"content-type: {content_type}", f"content-length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


def json_request(path: str, content: Any, *, key: str) -> bytes:
    """A POST of JSON; bytes are sent as they are."""
    return request("POST", path, key=key, body=content if isinstance(content, bytes) else json.dumps(content).encode())


def file_request(content: bytes, *, key: str, name: str = "rivers.jsonl", purpose: str = "fine-tune") -> bytes:
    """An upload of a file."""
    head = (
        f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
        f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    )
    body = head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    return request("POST", "/v1/files", key=key, body=body, content_type=f"multipart/form-data; boundary={BOUNDARY}")


@asynccontextmanager
async def connected(address: Address) -> AsyncIterator[socket.socket]:
    """A connection that does not block."""
    with socket.socket() as opened:
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, address)
        yield opened


async def exchange(address: Address, sent: bytes) -> Answer:
    """Send a request and read its answer."""

    async def send(opened: socket.socket) -> None:
        await asyncio.get_running_loop().sock_sendall(opened, sent)

    return await answered(address, send)


async def answered(address: Address, send: Callable[[socket.socket], Coroutine[Any, Any, None]]) -> Answer:
    """What is answered to whatever `send` sends. An answer before the request's end is an answer too."""
    try:
        async with connected(address) as opened:
            sending = asyncio.create_task(send(opened))
            try:
                return await _read(opened)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
    except OSError:
        return Answer(0, b"")


async def _read(opened: socket.socket) -> Answer:
    loop, received = asyncio.get_running_loop(), bytearray()
    try:
        while len(received) < MAX_ANSWER_BYTES and (chunk := await loop.sock_recv(opened, CHUNK_BYTES)):
            received += chunk
    except ConnectionResetError:
        pass  # what came before is the answer
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    return Answer(int(head[9:12]) if head.startswith(b"HTTP/1.1 ") else 0, body)
