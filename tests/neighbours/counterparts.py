"""What a project brings along: upstreams that answer, hang or answer too much, and receivers that are slow or fail.

`python -m tests.neighbours.counterparts` prints its port and serves until its input ends. The first part of the path
says how it behaves. Upstreams: `/answers`, `/nested` (an answer of lists in lists), `/hangs` and `/big`, each below
`/v1`; their fine-tuning jobs succeed at once, those of `/endless` never end. Receivers: `/well`, `/late` (200 after 18
seconds), `/fails` and `/silent`.
"""

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import time
from typing import Any

from tests.stack import ROOT

LATE_SECONDS = 18.0
BIG_BYTES = 24 << 20
NESTED = '{"x":' * 40 + "1" + "}" * 40

_numbers = itertools.count(1)
_jobs: dict[str, dict[str, Any]] = {}
_big = b""


class Counterparts:
    """The program, running."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.neighbours.counterparts"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.root_url = f"http://127.0.0.1:{json.loads(self._process.stdout.readline())}"

    def upstream(self, behaviour: str) -> str:
        """The base URL of an upstream."""
        return f"{self.root_url}/{behaviour}/v1"

    def receiver(self, behaviour: str, name: str) -> str:
        """The URL of a receiver."""
        return f"{self.root_url}/{behaviour}/{name}"

    def stop(self) -> None:
        """End it, with every connection."""
        self._process.kill()
        self._process.communicate()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await _body(reader, headers)
            method, path, _ = head[0].split(" ")
            status, answer = await _act(method, path.partition("?")[0], body, reader)
            writer.write(
                b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(answer))
            )
            writer.write(answer)
            await writer.drain()
    with contextlib.suppress(ConnectionError):
        writer.close()


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers.get("content-length", "0")))
    content = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        content += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return content


async def _act(method: str, path: str, body: bytes, reader: asyncio.StreamReader) -> tuple[int, bytes]:
    behaviour, _, rest = path.strip("/").partition("/")
    rest = rest.removeprefix("v1/")
    match behaviour, method, rest.split("/"):
        case "late", _, _:
            await asyncio.sleep(LATE_SECONDS)
            return 200, b"{}"
        case "fails", _, _:
            return 500, b"{}"
        case ("silent", _, _) | ("hangs", _, ["chat", "completions"]):
            await reader.read()  # until the other side hangs up
            raise ConnectionError
        case "big", _, ["chat", "completions"]:
            return 200, _big_answer()
        case _, _, ["chat", "completions"]:
            return 200, _completion(json.loads(body), NESTED if behaviour == "nested" else "1")
        case _, "POST", ["files"]:
            return 200, json.dumps(_file(f"file-up{next(_numbers)}")).encode()
        case _, "POST", ["fine_tuning", "jobs"]:
            return 200, json.dumps(_new_job(json.loads(body), endless=behaviour == "endless")).encode()
        case _, "GET", ["fine_tuning", "jobs"]:
            return 200, json.dumps(_page(list(_jobs.values())[::-1][:100])).encode()
        case _, "GET", ["fine_tuning", "jobs", job_id] if job_id in _jobs:
            return 200, json.dumps(_jobs[job_id]).encode()
        case _, "POST", ["fine_tuning", "jobs", job_id, "cancel"] if job_id in _jobs:
            _jobs[job_id].update(status="cancelled", finished_at=int(time.time()))
            return 200, json.dumps(_jobs[job_id]).encode()
        case _, "DELETE", [_, name]:
            return 200, json.dumps({"id": name, "deleted": True}).encode()
        case _, "GET", _:
            return 200, json.dumps(_page([])).encode()
        case _:
            return 200, b"{}"


def _page(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "list", "data": items, "has_more": False}


def _file(file_id: str) -> dict[str, Any]:
    shown = {"id": file_id, "object": "file", "bytes": 1, "created_at": int(time.time())}
    return {**shown, "filename": "x.jsonl", "purpose": "fine-tune", "status": "processed"}


def _new_job(wanted: dict[str, Any], *, endless: bool) -> dict[str, Any]:
    job_id = f"ftjob-up{next(_numbers)}"
    job = {
        "id": job_id,
        "object": "fine_tuning.job",
        "created_at": int(time.time()),
        "finished_at": None if endless else int(time.time()),
        "status": "running" if endless else "succeeded",
        "fine_tuned_model": None if endless else f"ft:{wanted['model']}:o::{job_id[8:]}",
        "trained_tokens": None if endless else 10,
        "result_files": [],
        "error": None,
        "organization_id": "o",
        "hyperparameters": {"n_epochs": 1},
        "validation_file": None,
        "metadata": {},
        **{name: value for name, value in wanted.items() if name in ("model", "training_file", "metadata", "method")},
    }
    _jobs[job_id] = job
    return job


def _completion(asked: dict[str, Any], text: str) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": asked["model"], "choices": [choice]}
    return json.dumps({**answer, "usage": usage}).encode()


def _big_answer() -> bytes:
    global _big
    if not _big:
        message = b'{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"1"}}],"x":['
        _big = message + b"[]," * (BIG_BYTES // 3) + b"[]]}"
    return _big


async def _run() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=2048, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_run())
