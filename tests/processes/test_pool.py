"""A request that reaches a limit fails by itself: its reason names what was done, and its neighbours are answered."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.fair_places import PlacesFull
from service.processes.guard import LimitReached
from service.processes.pool import ProcessPool, WorkFailed

MEGABYTE = 1 << 20


@asynccontextmanager
async def _pool(processes: int = 1, **options: Any) -> AsyncIterator[ProcessPool[dict[str, Any], Any]]:
    pool: ProcessPool[dict[str, Any], Any] = ProcessPool(
        "tests.processes.program",
        answer_type=Any,
        processes=processes,
        **{"memory_bytes": 200 * MEGABYTE, **options},
    )
    try:
        yield pool
    finally:
        await pool.close()


async def test_a_request_is_answered_with_its_progress() -> None:
    done: list[int] = []

    async def progress(done_bytes: int) -> None:
        done.append(done_bytes)

    async with _pool() as pool:
        answered = await pool.ask({"do": "count", "to": 3}, project_id="a", progress=progress)
    assert (answered, done) == ({"do": "count", "to": 3}, [0, 1, 2])


async def test_processor_time_beyond_the_limit_ends_the_request_and_names_it() -> None:
    async with _pool() as pool:
        with pytest.raises(LimitReached) as reached:
            await pool.ask({"do": "spin"}, project_id="a")
        assert (reached.value.limit, reached.value.label) == ("time", "matching an evil pattern")
        assert await pool.ask({"do": "echo"}, project_id="a") == {"do": "echo"}


async def test_waiting_is_not_processor_time() -> None:
    async with _pool() as pool:
        request = {"do": "wait", "seconds": 0.6}
        assert await pool.ask(request, project_id="a") == request


async def test_memory_beyond_the_limit_ends_the_request_and_names_it() -> None:
    async with _pool() as pool:
        assert await pool.ask({"do": "allocate", "bytes": 100 * MEGABYTE}, project_id="a") == 100 * MEGABYTE
        with pytest.raises(LimitReached) as reached:
            await pool.ask({"do": "allocate", "bytes": 300 * MEGABYTE}, project_id="a")
        assert (reached.value.limit, reached.value.label) == ("memory", "building a long text")
        assert await pool.ask({"do": "echo"}, project_id="a") == {"do": "echo"}


async def test_a_defect_is_not_a_limit() -> None:
    async with _pool() as pool:
        with pytest.raises(WorkFailed, match="a defect"):
            await pool.ask({"do": "fail"}, project_id="a")


async def test_a_silent_process_is_killed() -> None:
    async with _pool(silence_seconds=0.5) as pool:
        with pytest.raises(WorkFailed, match="hangs"):
            await pool.ask({"do": "wait", "seconds": 60}, project_id="a")
        assert await pool.ask({"do": "echo"}, project_id="a") == {"do": "echo"}


async def test_the_processes_do_not_get_the_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEGATE_MASTER_KEY", "secret")
    monkeypatch.setenv("DATABASE_URL", "secret")
    monkeypatch.setenv("AWS_REGION", "public")
    async with _pool() as pool:
        environment = await pool.ask({"do": "environment"}, project_id="a")
    assert "secret" not in environment.values()
    assert environment["AWS_REGION"] == "public"
    assert environment["PATH"] == os.environ["PATH"]


async def test_a_project_does_not_occupy_every_process() -> None:
    async with _pool(processes=2) as pool:
        slow = [asyncio.create_task(pool.ask({"do": "wait", "seconds": 30}, project_id="a")) for _ in range(3)]
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            assert await pool.ask({"do": "echo"}, project_id="b") == {"do": "echo"}
        for each in slow:
            each.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_a_project_with_too_many_waiting_requests_is_refused() -> None:
    async with _pool(max_waiting=1) as pool:
        running = [asyncio.create_task(pool.ask({"do": "wait", "seconds": 30}, project_id="a")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(PlacesFull):
            await pool.ask({"do": "echo"}, project_id="a")
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_nested_work_is_named_from_the_outside_in_and_has_no_more_time_than_the_whole() -> None:
    async with _pool() as pool:
        with pytest.raises(LimitReached) as reached:
            await pool.ask({"do": "nested"}, project_id="a")
        assert (reached.value.limit, reached.value.label) == ("time", "a file: a line")


async def test_the_time_of_many_short_blocks_counts_for_the_outer_one() -> None:
    async with _pool() as pool:
        with pytest.raises(LimitReached) as reached:
            await pool.ask({"do": "repeat"}, project_id="a")
        assert reached.value.limit == "time"
        assert reached.value.label.startswith("everything")


async def test_a_process_that_has_grown_is_replaced() -> None:
    async with _pool(memory_bytes=800 * MEGABYTE) as pool:
        first = await pool.ask({"do": "identify"}, project_id="a")
        assert await pool.ask({"do": "keep", "bytes": 100 * MEGABYTE}, project_id="a") == first
        assert await pool.ask({"do": "keep", "bytes": 400 * MEGABYTE}, project_id="a") == first
        assert await pool.ask({"do": "identify"}, project_id="a") != first


async def test_a_forked_process_has_no_more_time_than_the_one_that_forked_it() -> None:
    async with _pool() as pool:
        with pytest.raises(LimitReached) as reached:
            await pool.ask({"do": "fork"}, project_id="a")
        assert (reached.value.limit, reached.value.label) == ("time", "everything")
