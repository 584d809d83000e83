"""Attacks on the reading of what callers send: headers, bodies, JSON, forms, workbooks, and own upstreams' answers."""

import asyncio
import socket

from tests.neighbours.attacker import Attacker
from tests.neighbours.exchange import BOUNDARY, Answer, answered, connected, json_request, request
from tests.neighbours.workbooks import sparse_workbook, zipped_lists, zipped_rows
from tests.wire import MODEL

HEADER_BYTES = 100 << 20
LISTS_BYTES = 48 << 20
STILL_SECONDS = 1.0
DEPTHS = (900, 100_000)


async def endless_header(attacker: Attacker) -> None:
    """One header that does not end, without a key."""
    await _endless(attacker, b"GET /livez HTTP/1.1\r\nhost: a\r\nx: ", b"y" * (1 << 16))


async def many_headers(attacker: Attacker) -> None:
    """Headers without end, without a key."""
    await _endless(attacker, b"GET /livez HTTP/1.1\r\nhost: a\r\n", b"".join(b"a%d: b\r\n" % n for n in range(6000)))


async def endless_path(attacker: Attacker) -> None:
    """A path that does not end, without a key."""
    await _endless(attacker, b"GET /", b"y" * (1 << 16))


async def idle_connections(attacker: Attacker) -> None:
    """Many connections that send half a header and then nothing, without a key."""
    await _dripping(attacker, b"GET /livez HTTP/1.1\r\nhost: a", b"", at_once=400)


async def slow_headers(attacker: Attacker) -> None:
    """Many connections that send one byte of a header each second, without a key."""
    await _dripping(attacker, b"GET /livez HTTP/1.1\r\nhost: a\r\nx: ", b"y", at_once=200)


async def slow_bodies(attacker: Attacker) -> None:
    """Many requests whose bodies arrive a byte each second."""
    head = request("POST", "/v1/fine_tuning/jobs", key=attacker.key, body=b"").replace(
        b"content-length: 0", b"content-length: 1000000"
    )
    await _dripping(attacker, head, b" ", at_once=200)


async def deep_json(attacker: Attacker) -> None:
    """Deep JSON, in every place where JSON is free."""
    key, chat = attacker.key, f'{{"model":"{MODEL}","max_tokens":1,'
    generation = f'{{"topics":["a"],"n_per_topic":1,"model":"{MODEL}","tools":'
    prepared = [
        json_request(path, body.encode(), key=key)
        for depth in DEPTHS
        for lists, objects in [("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth)]
        for path, body in (
            ("/v1/chat/completions", f'{chat}"messages":{lists}}}'),
            ("/v1/chat/completions", f'{chat}"messages":[{{"role":"user","content":{objects}}}]}}'),
            ("/v1/chat/completions", f'{chat}"messages":[{{"role":"user","content":"x"}}],"tools":{objects}}}'),
            ("/v1/completions", f'{{"model":"babbage-002","max_tokens":1,"prompt":{lists}}}'),
            ("/v1/fine_tuning/jobs", f'{{"model":"{MODEL}","training_file":"file-1","metadata":{objects}}}'),
            ("/v1/model_comparisons/quotes", f'{{"models":["{MODEL}"],"file":"file-1","graders":{lists}}}'),
            ("/v1/dataset_generations/quotes", f"{generation}{lists}}}"),
        )
    ]
    await _in_turn(attacker, prepared, at_once=4)


async def many_values(attacker: Attacker) -> None:
    """Inference with tens of MB of empty lists."""
    lists = b"[]," * (LISTS_BYTES // 3) + b"[]"
    chat = b'{"model":"%s","max_tokens":1,"messages":[{"role":"user","content":"x"}],' % MODEL.encode()
    prepared = [json_request("/v1/chat/completions", chat + b'"x":[' + lists + b"]}", key=attacker.key)]
    await attacker.account("answers")
    await _in_turn(attacker, prepared, at_once=2, pause_seconds=0.3)


async def many_parts(attacker: Attacker) -> None:
    """A form of a hundred thousand parts."""
    part = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="a"\r\n\r\nb\r\n'.encode()
    body = part * 100_000 + f"--{BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    await _in_turn(attacker, [request("POST", "/v1/files", key=attacker.key, body=body, content_type=kind)], at_once=4)


async def big_answers(attacker: Attacker) -> None:
    """An own upstream that answers every call with tens of MB of empty lists."""
    await attacker.account("big")
    messages = [{"role": "user", "content": "x"}]
    ask = json_request(
        "/v1/chat/completions", {"model": MODEL, "messages": messages, "max_tokens": 1}, key=attacker.key
    )
    compare = attacker.comparison(await attacker.file(), {"type": "exact"})
    await _in_turn(attacker, [ask, ask, compare], at_once=3, pause_seconds=0.2)


async def sparse_workbooks(attacker: Attacker) -> None:
    """Workbooks of two rows and a cell far away."""
    await _prepare(attacker, *(("a.xlsx", sparse_workbook(cell)) for cell in ("Z1000000", "XFD1048576")))


async def zip_bombs(attacker: Attacker) -> None:
    """Zipped files that expand a thousand times."""
    await _prepare(attacker, ("a.json.gz", zipped_lists(60 << 20)), ("a.csv.gz", zipped_rows(400 << 20)))


async def _endless(attacker: Attacker, head: bytes, chunk: bytes) -> None:
    async def send(_: int) -> Answer:
        async def pour(opened: socket.socket) -> None:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(opened, head)
            for _ in range(HEADER_BYTES // len(chunk)):
                await loop.sock_sendall(opened, chunk)

        return await answered(attacker.address, pour)

    await attacker.repeat(send, at_once=3)


async def _dripping(attacker: Attacker, head: bytes, drop: bytes, *, at_once: int) -> None:
    async def send(_: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with connected(attacker.address) as opened:
                await loop.sock_sendall(opened, head)
                while not await _ended(opened):
                    await loop.sock_sendall(opened, drop)
        except OSError:
            pass
        attacker.answers[0] += 1

    await attacker.repeat(send, at_once=at_once)


async def _ended(opened: socket.socket) -> bool:
    """Whether the service answers or hangs up within a second."""
    try:
        async with asyncio.timeout(STILL_SECONDS):
            await asyncio.get_running_loop().sock_recv(opened, 1 << 16)
    except TimeoutError:
        return False
    return True


async def _in_turn(attacker: Attacker, prepared: list[bytes], *, at_once: int, pause_seconds: float = 0.0) -> None:
    async def send(number: int) -> Answer:
        return await attacker.send(prepared[number % len(prepared)])

    await attacker.repeat(send, at_once=at_once, pause_seconds=pause_seconds)


async def _prepare(attacker: Attacker, *contents: tuple[str, bytes]) -> None:
    files = [await attacker.upload(content, name=name, purpose="user_data") for name, content in contents]
    prepared = [json_request("/v1/dataset_preparations", {"file": file}, key=attacker.key) for file in files]
    await _in_turn(attacker, prepared, at_once=2, pause_seconds=0.5)


ATTACKS = (
    endless_header,
    many_headers,
    endless_path,
    idle_connections,
    slow_headers,
    slow_bodies,
    deep_json,
    many_values,
    many_parts,
    big_answers,
    sparse_workbooks,
    zip_bombs,
)
SHORT = (many_headers, deep_json, sparse_workbooks)
