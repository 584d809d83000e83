"""An API that is stopped with calls under way: each is posted once, as what it used."""

import asyncio
import dataclasses
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.faults.fork_server import ForkedProcess, fork_server
from tests.faults.processes import environment
from tests.inference.completions_upstream import PIECES
from tests.inference.conftest import MeteringHarness
from tests.workers.harness import DEADLINE_SECONDS, eventually

pytestmark = pytest.mark.faults

WHOLE = 3


def _body(what: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": what}], "max_tokens": 50, **more}


@asynccontextmanager
async def _own_api(
    harness: MeteringHarness, folder: Path, *, grace_seconds: float
) -> AsyncIterator[tuple[ForkedProcess, httpx2.AsyncClient]]:
    """An API process of the test's own, and a client of the project at it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = dataclasses.replace(harness.settings, upstream_base_url=harness.upstream.base_url)
        log = folder / "api.log"
        api = fork_server().start(
            "api", environment(settings), log, listener=listener.fileno(), grace_seconds=grace_seconds
        )
        headers = {"authorization": f"Bearer {harness.tenant.key}"}
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        try:
            async with httpx2.AsyncClient(base_url=base_url, headers=headers, timeout=90) as http:
                yield api, http
        finally:
            api.kill()


@asynccontextmanager
async def _under_way(harness: MeteringHarness, http: httpx2.AsyncClient) -> AsyncIterator[None]:
    """Whole calls, one of which nobody waits for any more, and a streamed one of which a piece has arrived."""
    waiting = [asyncio.create_task(http.post("/chat/completions", json=_body("hang"))) for _ in range(WHOLE)]
    await eventually(lambda: len(harness.upstream.asked) == WHOLE, about="the calls are not sent")
    waiting[0].cancel()
    body = _body("slow", stream=True)
    async with http.stream("POST", "/chat/completions", json=body) as answer:
        lines = answer.aiter_lines()
        assert PIECES[0].strip() in await anext(lines)
        yield
    await asyncio.gather(*waiting, return_exceptions=True)


async def _posted(harness: MeteringHarness) -> list[tuple[str | None, bool, bool]]:
    """Basis and tokens of each posting: each call is resolved once, and none stays open."""
    assert await harness.open_calls() == []
    assert (await harness.balance())[0] == 0
    entries = await harness.entries()
    reserved = [entry.subject for entry in entries if entry.kind == "reserve"]
    posted = [entry for entry in entries if entry.kind != "reserve"]
    assert sorted(reserved) == sorted(entry.subject for entry in posted)
    assert len(reserved) == WHOLE + 1
    return sorted((entry.basis, bool(entry.input_tokens), bool(entry.output_tokens)) for entry in posted)


async def test_what_has_no_answer_at_the_end_of_the_grace_is_posted_as_an_estimate(
    harness: MeteringHarness, tmp_path: Path
) -> None:
    async with _own_api(harness, tmp_path, grace_seconds=0.5) as (api, http), _under_way(harness, http):
        api.send_signal(signal.SIGTERM)
        await asyncio.to_thread(api.wait, DEADLINE_SECONDS)
    assert await _posted(harness) == [("estimate", True, False)] * WHOLE + [("estimate", True, True)]


async def test_what_is_answered_within_the_grace_is_posted_as_answered(
    harness: MeteringHarness, tmp_path: Path
) -> None:
    async with _own_api(harness, tmp_path, grace_seconds=60.0) as (api, http), _under_way(harness, http):
        api.send_signal(signal.SIGTERM)
        harness.upstream.let_go.set()
        await asyncio.to_thread(api.wait, DEADLINE_SECONDS)
    assert [basis for basis, _, _ in await _posted(harness)] == ["usage"] * WHOLE + ["usage"]
