"""Workers killed with -9 in the middle of a comparison: every call is charged once, and the result is the same."""

from pathlib import Path

import pytest
from sqlalchemy import update

from service.database.tables import Run
from tests.runs.comparisons.harness import ComparisonHarness, answering
from tests.runs.comparisons.test_deploying import BETTER, decided, trained
from tests.runs.harness import RunHarness
from tests.workers.process import WorkerProcess

pytestmark = pytest.mark.faults

SCRIPT = answering({0: lambda line: line % 3 == 0, 1: lambda line: line % 4 != 0}, verdict="right")
GRADERS = [{"type": "exact"}, {"type": "judge", "model": "gpt-4.1"}]


@pytest.mark.parametrize(
    "points", [["run.graded"], ["run.answered:3", "run.reserved:4", "run.recorded:5", "run.graded"]]
)
async def test_every_call_is_charged_once(isolated_harness: RunHarness, tmp_path: Path, points: list[str]) -> None:
    harness, comparisons = isolated_harness, ComparisonHarness(isolated_harness)
    harness.upstream.script = SCRIPT
    harness.upstream.pace_seconds = 0.02
    file_id = await comparisons.file()
    made = await comparisons.compare(file_id, graders=GRADERS, concurrency=3)
    finished: list[set[str]] = []
    for point in points:
        async with WorkerProcess(harness.ctx.settings, tmp_path, fault_point=point) as worker:
            await worker.killed()
        finished.append({call.key for call in await harness.calls(made["id"])})
        before = len(harness.upstream.log)
        await harness.end_lease(made["id"])
    done = await comparisons.ended(made["id"])
    assert done["status"] == "succeeded"
    asked_at_last = set(harness.upstream.keys()[before:])
    assert asked_at_last & finished[-1] == set(), "a finished call was asked again"
    calls = await harness.calls(made["id"])
    assert set(harness.upstream.charged) == {f"{made['id']}/{call.key}" for call in calls}
    assert await harness.assert_books(made["id"]) == sum(call.cost_micros for call in calls)
    assert len(await comparisons.cases(made["id"])) == 12
    harness.upstream.pace_seconds = 0.0
    undisturbed = await comparisons.ended((await comparisons.compare(file_id, graders=GRADERS))["id"])
    assert done["result"] == undisturbed["result"]


@pytest.mark.parametrize("point", ["deployment.begun", "deployment.decided"])
async def test_a_deployment_is_compared_and_decided_once(
    isolated_harness: RunHarness, tmp_path: Path, point: str
) -> None:
    harness, comparisons = isolated_harness, ComparisonHarness(isolated_harness)
    harness.upstream.script = BETTER
    job_id, model = await trained(comparisons)
    await comparisons.check_files()
    async with WorkerProcess(harness.ctx.settings, tmp_path, fault_point=point) as worker:
        await worker.killed()
    async with harness.ctx.db.worker() as session:
        await session.execute(update(Run).values(leased_until=None))
    assert (await decided(comparisons, job_id))["status"] == "deployed"
    async with harness.http() as http:
        assert len((await http.get("/model_comparisons")).json()["data"]) == 1
        history = (await http.get("/model_aliases/support/history")).json()["data"]
    assert [(each["action"], each["model"]) for each in history] == [("deployed", model)]
