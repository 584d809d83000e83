"""Workers killed with -9 in the middle of an experiment: one job an arm, one file a share, one event at the end."""

from pathlib import Path

import pytest
from sqlalchemy import update

from service.database.tables import Experiment
from tests.experiments.harness import ExperimentHarness
from tests.experiments.test_early_stopping import falling_behind
from tests.runs.harness import RunHarness
from tests.workers.process import WorkerProcess

pytestmark = pytest.mark.faults

POINTS = [
    "experiment.share_announced",
    "experiment.share_stored",
    "experiment.share_recorded",
    "experiment.arm_created",
    "experiment.arm_created:2",
    "experiment.arm_committed",
    "experiment.arm_committed:2",
]


@pytest.mark.parametrize("point", POINTS)
async def test_an_arm_is_created_once(isolated_harness: RunHarness, tmp_path: Path, point: str) -> None:
    experiments = ExperimentHarness(isolated_harness)
    made = await experiments.create(grid={"data_share": [1.0, 0.5]}, seed=1)
    async with WorkerProcess(isolated_harness.ctx.settings, tmp_path, fault_point=point) as worker:
        await worker.killed()
    await _end_lease(experiments, made["id"])
    jobs = await experiments.until_started(made["id"], 2)
    assert [job.id for job in await experiments.jobs()] == sorted(jobs)
    assert sum("share-0.5" in name for name in await experiments.files()) == 1
    entries = await isolated_harness.entries()
    assert sorted(entry.subject for entry in entries if entry.kind == "reserve") == sorted(jobs)


@pytest.mark.parametrize("point", ["experiment.cancelled", "experiment.cancelled:2"])
async def test_a_cancel_is_carried_out_once(isolated_harness: RunHarness, tmp_path: Path, point: str) -> None:
    experiments = ExperimentHarness(isolated_harness)
    made = await experiments.create()
    await experiments.until_started(made["id"], 2)
    await experiments.cancel(made["id"])
    async with WorkerProcess(isolated_harness.ctx.settings, tmp_path, fault_point=point) as worker:
        await worker.killed()
    await _end_lease(experiments, made["id"])
    for job in await experiments.jobs():
        if job.finished_at is None:
            await experiments.end_job(job.id, state="cancelled")
    assert (await experiments.until_end(made["id"]))["status"] == "cancelled"
    assert await experiments.events(made["id"]) == ["fine_tuning.experiment.cancelled"]


@pytest.mark.parametrize("point", ["experiment.compared", "experiment.ended"])
async def test_an_experiment_compares_and_ends_once(isolated_harness: RunHarness, tmp_path: Path, point: str) -> None:
    experiments = ExperimentHarness(isolated_harness)
    file_id = await experiments.file(12)
    comparison = {"file": file_id, "graders": [{"type": "contains", "text": "It"}]}
    made = await experiments.create(comparison=comparison, promote="support")
    for job in await experiments.until_started(made["id"], 2):
        await experiments.end_job(job, valid_loss=1.0)
    async with WorkerProcess(isolated_harness.ctx.settings, tmp_path, fault_point=point) as worker:
        await worker.killed()
    await _end_lease(experiments, made["id"])
    done = await experiments.until_end(made["id"])
    assert (done["status"], done["promotion"]["status"]) == ("succeeded", "refused")
    assert await experiments.events(made["id"]) == ["fine_tuning.experiment.succeeded"]
    async with isolated_harness.http() as http:
        assert len((await http.get("/model_comparisons")).json()["data"]) == 1


async def test_an_arm_is_stopped_once(isolated_harness: RunHarness, tmp_path: Path) -> None:
    experiments = ExperimentHarness(isolated_harness)
    made, jobs = await falling_behind(experiments)
    async with WorkerProcess(isolated_harness.ctx.settings, tmp_path, fault_point="experiment.arm_stopped") as worker:
        await worker.killed()
    await _end_lease(experiments, made["id"])
    await experiments.step(made["id"])
    cancels = [job.cancel_requested_at is not None for job in await experiments.jobs()]
    assert cancels == [False, False, False, True]
    async with isolated_harness.http() as http:
        events = (await http.get(f"/fine_tuning/jobs/{jobs[3]}/events", params={"limit": 50})).json()["data"]
    assert [event["message"] for event in events].count("Cancel requested.") == 1


async def _end_lease(experiments: ExperimentHarness, experiment_id: str) -> None:
    async with experiments.harness.ctx.db.worker() as session:
        await session.execute(update(Experiment).where(Experiment.id == experiment_id).values(leased_until=None))
