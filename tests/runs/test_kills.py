"""Workers killed with -9 at every boundary of a run, and again and again: each finished item is asked and paid once."""

from collections import Counter
from pathlib import Path

import pytest

from tests.runs.harness import Mill
from tests.runs.scripted import Call, Reply, plain
from tests.workers.process import WorkerProcess

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


async def _assert_once(mill: Mill, run_id: str, finished: list[set[str]], *, total: int = 10) -> None:
    """Everything that exactly once means; `finished` are the calls that were recorded at each kill."""
    shown = await mill.shown(run_id)
    assert (shown["status"], shown["progress"]["done"], shown["error"]) == ("succeeded", total, None)
    rows = await mill.examples(shown["file"])
    assert len({row["messages"][0]["content"] for row in rows}) == total
    calls = {call.key for call in await mill.calls(run_id)}
    assert set(mill.upstream.charged) == {f"{run_id}/{key}" for key in calls}
    cost = await mill.assert_books(run_id)
    assert cost == sum(call.cost_micros for call in await mill.calls(run_id))
    posted = [entry for entry in await mill.entries() if entry.kind == "post"]
    assert len(posted) == len(calls) == 2 * total
    for known in finished:
        assert known <= calls
    counts = await mill.counts()
    assert (counts["files"], counts["reports"]) == (1, 1)
    assert await mill.webhooks() in (
        ["dataset_generation.succeeded"],
        ["dataset_generation.succeeded", "file.processed"],
    )


@pytest.mark.parametrize("point", OF_RUNS)
async def test_killed_at(lone_mill: Mill, tmp_path: Path, point: str) -> None:
    """The first dies there; what comes of it is what comes of a run that nobody disturbed."""
    mill = lone_mill
    if point in LATER:
        limited = Counter[str]()

        def script(call: Call) -> Reply:
            limited[call.key] += 1
            return Reply(status=429, retry_after="6") if limited[call.key] == 1 and call.item == 3 else plain(call)

        mill.upstream.script = script
    made = await mill.generate(concurrency=4)
    async with WorkerProcess(mill.ctx.settings, tmp_path, fault_point=point) as worker:
        await worker.killed()
    finished = {call.key for call in await mill.calls(made["id"])}
    before = len(mill.upstream.log)
    await mill.end_lease(made["id"])
    await mill.until_end(made["id"])
    asked_after = set(mill.upstream.keys()[before:])
    assert asked_after & finished == set(), "a finished call was asked again"
    await _assert_once(mill, made["id"], [finished])


async def test_killed_three_times_each_item_is_asked_once(lone_mill: Mill, tmp_path: Path) -> None:
    """At moments of its own choosing: while calls are under way, after answers came, in the middle of it all."""
    mill, finished, marks = lone_mill, [], []
    mill.upstream.pace_seconds = 0.02
    made = await mill.generate(n_per_topic=20, concurrency=4)
    for point in ("run.answered:2", "run.reserved:3", "run.recorded:4"):
        async with WorkerProcess(mill.ctx.settings, tmp_path, fault_point=point) as worker:
            await worker.killed()
        finished.append({call.key for call in await mill.calls(made["id"])})
        marks.append(len(mill.upstream.log))
        await mill.end_lease(made["id"])
    async with WorkerProcess(mill.ctx.settings, tmp_path):
        await mill.until(made["id"], done=40)
        async with mill.http() as http:
            told = (await http.get(f"/dataset_generations/{made['id']}/events", params={"stream": "true"})).text
    assert told.endswith("[DONE]\n\n")
    for known, mark in zip(finished, marks, strict=True):
        assert set(mill.upstream.keys()[mark:]) & known == set()
    assert len(finished[0]) < len(finished[1]) or len(finished[1]) < len(finished[2])
    await _assert_once(mill, made["id"], finished, total=40)
    asked = Counter(mill.upstream.keys())
    print(
        f"killed 3 times: {len(asked)} items, {len(mill.upstream.log)} requests, {mill.upstream.replayed} of them "
        f"asked again under their key while under way at a kill, {len(mill.upstream.charged)} charged"
    )
    assert len(mill.upstream.log) - len(asked) == mill.upstream.replayed <= 12
