"""An API process counts tokens in other processes: it holds no tokenizer, and they end when they are idle."""

import os
import signal
import subprocess
import sys

import pytest

from service.inference import token_counts
from service.inference.token_counts import PROGRAM, CountRequest, ProcessCounts, count_tokens, token_bound
from service.processes.pool import ProcessPool

TEXTS = ["Die längste Antwort über Flüsse, 河流有多长?", "a" * 1000, ""]

API = """
import asyncio, sys
import service.app
from service.inference.token_counts import ProcessCounts

async def count():
    counts = ProcessCounts()
    tokens = [await counts.count(["Hello world"], each, project_id="a") for each in ("o200k_base", "cl100k_base")]
    await counts.close()
    return tokens

print(asyncio.run(count()), [each for each in ("tiktoken", "quicktok") if each in sys.modules])
"""


def test_the_api_holds_no_tokenizer_while_it_counts() -> None:
    shown = subprocess.run([sys.executable, "-c", API], capture_output=True, text=True, check=True)
    assert shown.stdout == "[2, 2] []\n"


@pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base"])
def test_no_text_has_more_tokens_than_its_bound(encoding: str) -> None:
    for text in (*TEXTS, "👩‍👩‍👧‍👦 \x00\x7f", "é̀", "﷽", "\ud800"):
        assert count_tokens([text], encoding) <= token_bound([text])


async def test_counts_as_this_process_does() -> None:
    counts = ProcessCounts()
    try:
        assert await counts.count(TEXTS, "o200k_base", project_id="a") == count_tokens(TEXTS, "o200k_base")
    finally:
        await counts.close()


async def test_without_a_process_that_counts_the_bound_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_counts, "PROGRAM", "service.inference.no_such_program")
    counts = ProcessCounts()
    try:
        assert await counts.count(TEXTS, "o200k_base", project_id="a") == token_bound(TEXTS)
    finally:
        await counts.close()


async def test_a_signal_to_every_process_of_a_service_ends_no_count() -> None:
    counts = ProcessCounts()
    try:
        assert await counts.count(TEXTS, "o200k_base", project_id="a") == count_tokens(TEXTS, "o200k_base")
        [process] = counts._pool._all
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(process.pid, number)
        assert await counts.count(TEXTS, "o200k_base", project_id="a") == count_tokens(TEXTS, "o200k_base")
        assert list(counts._pool._all) == [process]
    finally:
        await counts.close()


async def test_an_idle_process_ends() -> None:
    pool: ProcessPool[CountRequest, int] = ProcessPool(
        PROGRAM, answer_type=int, processes=1, memory_bytes=1 << 30, idle_seconds=0.0
    )
    try:
        await pool.ask(CountRequest("o200k_base", ["Hello"]), project_id="a")
        [process] = pool._all
        assert await process.wait() < 0
        assert not pool._all
        assert await pool.ask(CountRequest("o200k_base", ["Hello"]), project_id="a") == 1
    finally:
        await pool.close()
