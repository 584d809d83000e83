"""A worker process on schemas that cost more than any limit: it answers and stops as ever, and the run ends at once."""

import asyncio
import dataclasses
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cli.embedded import free_port
from tests.evaluation.bombs import nested, recursive
from tests.runs.comparisons.harness import ComparisonHarness
from tests.runs.harness import RunHarness
from tests.runs.scripted import Call, Reply, plain
from tests.workers.harness import eventually
from tests.workers.process import WorkerProcess

pytestmark = pytest.mark.faults

EVALUATION_SECONDS = 3.0
SILENT_SECONDS = 1.0
"""Less than the evaluation takes. The time for which the machine has no processor for the worker does not count."""

PATIENCE_SECONDS = 180.0

Show = Callable[[], Awaitable[dict[str, Any]]]


async def _comparison(harness: RunHarness) -> tuple[str, Show]:
    """A comparison with a grader that never ends on its answers; how it is shown."""
    comparisons = ComparisonHarness(harness)
    harness.upstream.script = lambda call: Reply(text=nested(60), usage=(30, 5))
    made = await comparisons.compare(
        await comparisons.file(),
        models=["gpt-4o-mini"],
        graders=[{"type": "json_schema", "name": "shape", "schema": recursive()}],
        max_examples=1,
    )
    return made["id"], lambda: comparisons.shown(made["id"])


async def _ended(show: Show) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (shown := await show())["finished_at"] is None:
        assert time.monotonic() < deadline, shown
        await asyncio.sleep(0.1)
    return shown


def _waited_seconds(worker: WorkerProcess) -> float:
    """How long threads of the worker that could run have waited for a processor (proc(5), schedstat)."""
    threads = Path(f"/proc/{worker.pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[1]) for thread in threads) / 1e9


def _evaluating(worker: WorkerProcess) -> int | None:
    """The pid of the worker's evaluation process, which it starts when the answers are to be graded."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == worker.pid and b"evaluation_program" in command:
            return int(stat.parent.name)
    return None


async def test_while_a_grader_is_evaluated_its_worker_answers(isolated_harness: RunHarness, tmp_path: Path) -> None:
    harness = isolated_harness
    run_id, show = await _comparison(harness)
    settings = dataclasses.replace(
        harness.ctx.settings, metrics_port=free_port(), evaluation_seconds=EVALUATION_SECONDS
    )
    async with (
        WorkerProcess(settings, tmp_path) as worker,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{settings.metrics_port}", timeout=20) as internal,
    ):
        await worker.logged("worker.started")
        ending, silences, busy = asyncio.create_task(_ended(show)), [], False
        while not ending.done():
            began, waited = time.monotonic(), _waited_seconds(worker)
            assert (await internal.get("/livez")).status_code == 200
            answered, waiting = time.monotonic() - began, max(0.0, _waited_seconds(worker) - waited)
            silences.append((answered - waiting, answered))
            busy = busy or _evaluating(worker) is not None
            await asyncio.sleep(0.05)
        shown = await ending
    assert busy
    silence = max(silent for silent, _ in silences)
    slowest = max(answered for _, answered in silences)
    print(f"{len(silences)} answers of /livez, the slowest after {slowest:.3f} s; silent for {silence:.3f} s")
    assert silence < SILENT_SECONDS
    assert (shown["status"], shown["error"]["code"]) == ("failed", "evaluation_limit_exceeded")
    assert "the grader 'shape' on the answer of model 1" in shown["error"]["message"]
    assert (await harness.row(run_id)).failures <= 1


async def test_a_worker_that_is_stopped_meanwhile_ends_and_the_next_one_names_the_reason(
    isolated_harness: RunHarness, tmp_path: Path
) -> None:
    harness = isolated_harness
    run_id, show = await _comparison(harness)
    settings = dataclasses.replace(harness.ctx.settings, evaluation_seconds=600.0)
    async with WorkerProcess(settings, tmp_path, grace_seconds=0.5) as worker:
        await eventually(lambda: _evaluating(worker) is not None, about="nothing is evaluated")
        evaluating = _evaluating(worker)
        worker.send(signal.SIGTERM)
        await worker.ended()
    await eventually(lambda: not Path(f"/proc/{evaluating}").exists(), about="the evaluation goes on")
    assert (await show())["finished_at"] is None
    await harness.end_lease(run_id)
    settings = dataclasses.replace(harness.ctx.settings, evaluation_seconds=1.0)
    async with WorkerProcess(settings, tmp_path):
        shown = await _ended(show)
    assert (shown["status"], shown["error"]["code"]) == ("failed", "evaluation_limit_exceeded")
    assert (await harness.row(run_id)).failures <= 2
    assert len(harness.upstream.log) == 1, "an answered call is not repeated"
    await harness.assert_books(run_id)


async def test_a_generation_whose_tools_take_too_long_ends_at_the_first_attempt(
    isolated_harness: RunHarness, tmp_path: Path
) -> None:
    harness = isolated_harness

    def script(call: Call) -> Reply:
        if call.kind == "question":
            return plain(call)
        function = {"name": "get_weather", "arguments": nested(60)}
        return Reply(tool_calls=[{"id": "call_1", "type": "function", "function": function}], usage=(50, 20))

    harness.upstream.script = script
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": recursive()}}]
    made = await harness.generate(tools=tools, n_per_topic=1, concurrency=1)
    settings = dataclasses.replace(harness.ctx.settings, evaluation_seconds=1.0)
    async with WorkerProcess(settings, tmp_path):
        shown = await _ended(lambda: harness.shown(made["id"]))
    assert (shown["status"], shown["error"]["code"], shown["error"]["param"]) == (
        "failed",
        "evaluation_limit_exceeded",
        "tools",
    )
    assert "validating a call of 'get_weather'" in shown["error"]["message"]
    assert "1 seconds of processor time (TUNEGATE_EVALUATION_SECONDS)" in shown["error"]["message"]
    assert (await harness.row(made["id"])).failures <= 1
    assert len([call for call in harness.upstream.log if call.kind == "answer"]) == 1
    await harness.assert_books(made["id"])
