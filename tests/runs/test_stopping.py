"""A worker that is stopped while calls of a cancelled run are under way: each is posted once, as what it used."""

import dataclasses
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from service.database.tables import LedgerEntry
from tests.runs.harness import RunHarness
from tests.workers.harness import eventually
from tests.workers.process import WorkerProcess

CALLS = 4


@asynccontextmanager
async def _cancelled(
    harness: RunHarness, folder: Path, *, grace_seconds: float | None = None
) -> AsyncIterator[tuple[WorkerProcess, str]]:
    """A worker with calls under way whose run was cancelled, which it notices after a while; and the run's id."""
    harness.upstream.gate.clear()
    settings = dataclasses.replace(harness.ctx.settings, lease_seconds=9.0)
    made = await harness.generate(n_per_topic=2, concurrency=CALLS)
    async with WorkerProcess(settings, folder, grace_seconds=grace_seconds) as worker:
        await eventually(lambda: len(harness.upstream.log) == CALLS, about="the calls are not sent")
        async with harness.http() as http:
            assert (await http.post(f"/dataset_generations/{made['id']}/cancel")).status_code == 200
        yield worker, made["id"]


async def _posted(harness: RunHarness, run_id: str) -> list[Any]:
    """Basis and tokens of each posting, after the books were checked: each call is resolved once, none is open."""
    await harness.assert_books(run_id)
    entries = [entry for entry in await harness.entries() if entry.kind == "post"]
    assert len(entries) == CALLS
    return [_tokens(entry) for entry in entries]


def _tokens(entry: LedgerEntry) -> tuple[str | None, bool, bool]:
    return entry.basis, bool(entry.input_tokens), bool(entry.output_tokens)


async def test_calls_that_are_answered_within_the_grace_are_posted_as_answered(
    isolated_harness: RunHarness, tmp_path: Path
) -> None:
    harness = isolated_harness
    async with _cancelled(harness, tmp_path) as (worker, run_id):
        await worker.logged("step.taken_over")
        worker.send(signal.SIGTERM)
        await worker.logged("worker.stopping")
        harness.upstream.gate.set()
        await worker.ended()
    assert await _posted(harness, run_id) == [("usage", True, True)] * CALLS
    charged = sorted(tokens for key, tokens in harness.upstream.charged.items() if key.startswith(run_id))
    entries = [entry for entry in await harness.entries() if entry.kind == "post"]
    assert sorted((entry.input_tokens, entry.output_tokens) for entry in entries) == charged


async def test_calls_without_an_answer_at_the_end_of_the_grace_are_posted_as_estimates(
    isolated_harness: RunHarness, tmp_path: Path
) -> None:
    async with _cancelled(isolated_harness, tmp_path, grace_seconds=0.5) as (worker, run_id):
        await worker.logged("step.taken_over")
        worker.send(signal.SIGTERM)
        await worker.ended()
    assert await _posted(isolated_harness, run_id) == [("estimate", True, False)] * CALLS


async def test_a_cancel_that_the_worker_has_not_noticed_leaves_nothing_open(
    isolated_harness: RunHarness, tmp_path: Path
) -> None:
    async with _cancelled(isolated_harness, tmp_path, grace_seconds=0.0) as (worker, run_id):
        worker.send(signal.SIGTERM)
        await worker.ended()
    assert await _posted(isolated_harness, run_id) == [("estimate", True, False)] * CALLS


async def test_calls_of_a_run_that_continues_are_left_to_its_next_worker(
    isolated_harness: RunHarness, tmp_path: Path
) -> None:
    harness = isolated_harness
    harness.upstream.gate.clear()
    made = await harness.generate(n_per_topic=2, concurrency=CALLS)
    async with WorkerProcess(harness.ctx.settings, tmp_path, grace_seconds=0.0) as worker:
        await eventually(lambda: len(harness.upstream.log) == CALLS, about="the calls are not sent")
        worker.send(signal.SIGTERM)
        await worker.ended()
    assert len(await harness.open_calls()) == CALLS
    harness.upstream.gate.set()
    await harness.end_lease(made["id"])
    assert (await harness.until_end(made["id"]))["status"] == "succeeded"
    await harness.assert_books(made["id"])


async def test_a_second_signal_cuts_the_grace(isolated_harness: RunHarness, tmp_path: Path) -> None:
    async with _cancelled(isolated_harness, tmp_path, grace_seconds=600.0) as (worker, run_id):
        worker.send(signal.SIGTERM)
        await worker.logged("worker.stopping")
        worker.send(signal.SIGTERM)
        await worker.ended()
    assert await _posted(isolated_harness, run_id) == [("estimate", True, False)] * CALLS
