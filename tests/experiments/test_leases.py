"""Arms are created once, whatever happens between their transactions, also when the caller cancels meanwhile."""

import asyncio

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import IntegrityError

from service.database.leases import LeaseLost
from service.database.tables import Experiment, ExperimentArm, Job
from service.experiments.queries import read_full
from service.jobs.actions import ArmOf, PricingContext, create_job
from service.jobs.schemas import CreateJob
from tests.experiments.harness import BASE, ExperimentHarness
from workers.experiments.advance import MAX_CRASHES, advance
from workers.experiments.arms import start_arm


async def test_a_worker_that_lost_its_lease_creates_nothing(experiments: ExperimentHarness) -> None:
    made = await experiments.create()
    claimed = await experiments.claim(made["id"])
    assert claimed is not None
    ctx = experiments.harness.ctx
    async with ctx.db.worker() as session:
        [full] = await read_full(session, [await experiments.row(made["id"])])
        await session.execute(
            update(Experiment).where(Experiment.id == made["id"]).values(lease_token=Experiment.lease_token + 1)
        )
    with pytest.raises(LeaseLost):
        await start_arm(ctx, claimed, full, full.arms[0])
    assert await experiments.jobs() == []
    assert await experiments.reserved_micros() == 0


async def test_a_step_that_always_fails_ends_the_experiment_and_cancels_its_jobs(
    experiments: ExperimentHarness,
) -> None:
    made = await experiments.create(grid={"n_epochs": [1, 2, 3]})
    ended, _ = await experiments.until_started(made["id"], 2)
    await experiments.end_job(ended)
    ctx, arm = experiments.harness.ctx, ExperimentArm.experiment_id == made["id"]
    async with ctx.db.worker() as session:
        stored = (await session.execute(select(ExperimentArm.arm, ExperimentArm.settings).where(arm))).all()
        await session.execute(update(ExperimentArm).where(arm).values(settings={}))
    for _ in range(MAX_CRASHES):
        claimed = await experiments.claim(made["id"])
        assert claimed is not None, "it has ended too early"
        await advance(ctx, claimed)
    assert await experiments.claim(made["id"]) is None
    async with ctx.db.worker() as session:
        for number, settings in stored:
            one = ExperimentArm.arm == number
            await session.execute(update(ExperimentArm).where(arm, one).values(settings=settings))
    shown = await experiments.shown(made["id"])
    assert (shown["status"], shown["error"]["code"]) == ("failed", "experiment_crashed")
    assert shown["arms"][-1]["status"] == "skipped"
    assert [job.cancel_requested_at is not None for job in await experiments.jobs()] == [False, True]


async def test_an_arm_has_one_job_even_without_the_fence(experiments: ExperimentHarness) -> None:
    """The second guard: a unique index on the experiment and the arm."""
    made = await experiments.create()
    await experiments.until_started(made["id"], 1)
    body = CreateJob(model=BASE, training_file=made["training_file"])
    ctx = experiments.harness.ctx
    pricing_context = PricingContext(catalogue=ctx.catalogue, today=ctx.today())
    with pytest.raises(IntegrityError, match="ix_jobs_experiment"):
        async with ctx.db.worker() as session:
            await create_job(
                session,
                project_id=experiments.harness.project_id,
                body=body,
                pricing_context=pricing_context,
                arm_of=ArmOf(made["id"], 1),
            )


async def test_no_arm_starts_after_a_cancel_and_those_that_run_are_cancelled(experiments: ExperimentHarness) -> None:
    made = await experiments.create(grid={"n_epochs": [1, 2, 3]}, promote="support")
    jobs = await experiments.until_started(made["id"], 2)
    claimed = await experiments.claim(made["id"])
    assert claimed is not None
    ctx = experiments.harness.ctx
    async with ctx.db.worker() as session:
        [full] = await read_full(session, [await experiments.row(made["id"])])
    answer = await experiments.cancel(made["id"])
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelling")
    with pytest.raises(LeaseLost):
        await start_arm(ctx, claimed, full, full.arms[2])
    assert (await experiments.step(made["id"]))["status"] == "cancelling"
    assert {job.id for job in await experiments.jobs() if job.cancel_requested_at is not None} == set(jobs)
    for job in jobs:
        await experiments.end_job(job, state="cancelled")
    done = await experiments.step(made["id"])
    assert done["status"] == "cancelled"
    assert [arm["status"] for arm in done["arms"]] == ["cancelled", "cancelled", "skipped"]
    assert done["arms"][2]["reason"] == done["promotion"]["reason"] == "The experiment was cancelled before."
    assert done["promotion"]["status"] == "refused"
    assert await experiments.events(made["id"]) == ["fine_tuning.experiment.cancelled"]
    again = await experiments.cancel(made["id"])
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")


async def test_an_experiment_whose_jobs_are_all_paused_says_so(experiments: ExperimentHarness) -> None:
    made = await experiments.create(grid={"n_epochs": [1, 2, 3]})
    jobs = await experiments.until_started(made["id"], 2)
    async with experiments.harness.http() as http:
        for job, words in zip(jobs, (None, "paused every job that has not ended (arm 1, 2)"), strict=True):
            assert (await http.post(f"/fine_tuning/jobs/{job}/pause")).status_code == 200
            reason = (await experiments.step(made["id"]))["waiting_reason"]
            assert reason is None if words is None else words in reason
        await http.post(f"/fine_tuning/jobs/{jobs[0]}/resume")
    assert (await experiments.step(made["id"]))["waiting_reason"] is None


@pytest.mark.parametrize("cancels_first", [True, False])
async def test_a_cancel_that_races_the_creation_of_an_arm_wins_or_cancels_it(
    experiments: ExperimentHarness, cancels_first: bool
) -> None:
    """Both transactions at once: either the arm was never created, or its job is cancelled. None trains on."""
    made = await experiments.create()
    await experiments.step(made["id"])
    await experiments.comparisons.check_files()
    claimed = await experiments.claim(made["id"])
    assert claimed is not None
    racers = [experiments.cancel(made["id"]), _advanced(experiments, claimed)]
    await asyncio.gather(*(racers if cancels_first else racers[::-1]))
    for _ in range(3):
        await experiments.step(made["id"])
    for job in await experiments.jobs():
        assert job.cancel_requested_at is not None
        await experiments.end_job(job.id, state="cancelled")
    assert (await experiments.step(made["id"]))["status"] == "cancelled"


async def _advanced(experiments: ExperimentHarness, claimed: object) -> None:
    try:
        await advance(experiments.harness.ctx, claimed)  # type: ignore[arg-type]
    except LeaseLost:
        return


async def test_the_end_of_a_job_makes_its_experiment_due(experiments: ExperimentHarness) -> None:
    """A cancel of one arm's job, carried out by a worker's step, in the transaction of its end."""
    from service.database import leases
    from workers.jobs.advance import advance as advance_job

    made = await experiments.create()
    [job_id, _] = await experiments.until_started(made["id"], 2)
    ctx = experiments.harness.ctx
    async with experiments.harness.http() as http:
        assert (await http.post(f"/fine_tuning/jobs/{job_id}/cancel")).status_code == 200
    async with ctx.db.worker() as session:
        later = func.now() + text("interval '1 hour'")
        await session.execute(update(Experiment).where(Experiment.id == made["id"]).values(due_at=later))
    async with ctx.db.worker() as session:
        [claimed] = await leases.claim(session, Job, lease_seconds=60.0, where=[Job.id == job_id])
    await advance_job(ctx, claimed)
    async with ctx.db.worker() as session:
        due = await session.scalar(select(Experiment.due_at <= func.now()).where(Experiment.id == made["id"]))
    assert due is True
    shown = await experiments.step(made["id"])
    assert shown["arms"][0]["status"] == "cancelled"
