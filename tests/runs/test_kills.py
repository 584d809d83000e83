"""Workers killed with -9 at every boundary of a run, and again and again: each finished item is asked and paid once."""

from collections import Counter
from pathlib import Path

import pytest

from tests.runs.harness import RunHarness
from tests.runs.scripted import Call, Reply, plain
from tests.workers.process import WorkerProcess

pytestmark = pytest.mark.faults

OF_RUNS = (
    "run.begun",
    "run.reserved",
    "run.answered",
    "run.recorded",
    "run.given_back",
    "run.announced",
    "run.stored",
    "run.ended",
)
LATER = ("run.given_back",)
"""Reached only when a run has to wait."""


async def _assert_once(harness: RunHarness, run_id: str, finished: list[set[str]], *, total: int = 10) -> None:
    """Everything that exactly once means; `finished` are the calls that were recorded at each kill."""
    shown = await harness.shown(run_id)
    assert (shown["status"], shown["progress"]["done"], shown["error"]) == ("succeeded", total, None)
    rows = await harness.examples(shown["file"])
    assert len({row["messages"][0]["content"] for row in rows}) == total
    calls = {call.key for call in await harness.calls(run_id)}
    assert set(harness.upstream.charged) == {f"{run_id}/{key}" for key in calls}
    cost = await harness.assert_books(run_id)
    assert cost == sum(call.cost_micros for call in await harness.calls(run_id))
    posted = [entry for entry in await harness.entries() if entry.kind == "post"]
    assert len(posted) == len(calls) == 2 * total
    for known in finished:
        assert known <= calls
    counts = await harness.counts()
    assert (counts["files"], counts["reports"]) == (1, 1)
    assert await harness.webhooks() in (
        ["dataset_generation.succeeded"],
        ["dataset_generation.succeeded", "file.processed"],
    )


@pytest.mark.parametrize("point", OF_RUNS)
async def test_killed_at(isolated_harness: RunHarness, tmp_path: Path, point: str) -> None:
    """The first process dies there; the result is that of an undisturbed run."""
    harness = isolated_harness
    if point in LATER:
        limited = Counter[str]()

        def script(call: Call) -> Reply:
            limited[call.key] += 1
            return Reply(status=429, retry_after="6") if limited[call.key] == 1 and call.item == 3 else plain(call)

        harness.upstream.script = script
    made = await harness.generate(concurrency=4)
    async with WorkerProcess(harness.ctx.settings, tmp_path, fault_point=point) as worker:
        await worker.killed()
    finished = {call.key for call in await harness.calls(made["id"])}
    before = len(harness.upstream.log)
    await harness.end_lease(made["id"])
    await harness.until_end(made["id"])
    asked_after = set(harness.upstream.keys()[before:])
    assert asked_after & finished == set(), "a finished call was asked again"
    await _assert_once(harness, made["id"], [finished])


async def test_killed_three_times_each_item_is_asked_once(isolated_harness: RunHarness, tmp_path: Path) -> None:
    """At moments of its own choosing: while calls are under way, after answers came, in the middle of it all."""
    harness, finished, positions = isolated_harness, [], []
    harness.upstream.pace_seconds = 0.02
    made = await harness.generate(n_per_topic=20, concurrency=4)
    for point in ("run.answered:2", "run.reserved:3", "run.recorded:4"):
        async with WorkerProcess(harness.ctx.settings, tmp_path, fault_point=point) as worker:
            await worker.killed()
        finished.append({call.key for call in await harness.calls(made["id"])})
        positions.append(len(harness.upstream.log))
        await harness.end_lease(made["id"])
    async with WorkerProcess(harness.ctx.settings, tmp_path):
        await harness.until(made["id"], done=40)
        async with harness.http() as http:
            reported = (await http.get(f"/dataset_generations/{made['id']}/events", params={"stream": "true"})).text
    assert reported.endswith("[DONE]\n\n")
    for known, position in zip(finished, positions, strict=True):
        assert set(harness.upstream.keys()[position:]) & known == set()
    assert len(finished[0]) < len(finished[1]) or len(finished[1]) < len(finished[2])
    await _assert_once(harness, made["id"], finished, total=40)
    asked = Counter(harness.upstream.keys())
    print(
        f"killed 3 times: {len(asked)} items, {len(harness.upstream.log)} requests, {harness.upstream.replayed} of "
        f"them asked again under their key while under way at a kill, {len(harness.upstream.charged)} charged"
    )
    assert len(harness.upstream.log) - len(asked) == harness.upstream.replayed <= 12
