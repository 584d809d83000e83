"""A job's verdict: written while it runs at a bounded rate, and at its end from all metrics, each with an event."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, text, update

from service.database.tables import Checkpoint, FileReport, Job, JobEvent, JobMetric
from service.jobs.curves.curve import MAX_POINTS, series
from service.jobs.curves.verdict import Training, Verdict, verdict
from service.jobs.training_curve import read_curve, total_steps_in
from tests.jobs.curves.made import KINDS, made
from tests.workers.harness import WorkerHarness
from workers.jobs.verdicts import is_due

LENGTH = 80
OVER_FITTED = made(KINDS["over_fitted"][1], length=LENGTH, noise=0.02, seed=1, full=False)


def metrics(job: Job, steps: Sequence[int]) -> list[dict[str, Any]]:
    """The upstream's events of some steps of an over-fitting job."""
    return [
        {
            "id": f"ftevent-{job.upstream_job_id}-{each.step}",
            "created_at": 5,
            "type": "metrics",
            "message": f"Step {each.step}",
            "data": {**each._asdict(), "total_steps": LENGTH},
        }
        for each in OVER_FITTED.steps
        if each.step in steps
    ]


async def verdict_events(harness: WorkerHarness, job_id: str) -> list[tuple[str, str]]:
    async with harness.ctx.db.worker() as session:
        kind = JobEvent.data["verdict"].astext
        found = await session.execute(
            select(JobEvent.level, kind).where(JobEvent.job_id == job_id, kind.is_not(None)).order_by(JobEvent.sequence)
        )
        return [(level, str(value)) for level, value in found]


async def test_a_running_job_gets_a_verdict_with_its_checkpoint_and_one_event_when_it_over_fits(
    harness: WorkerHarness,
) -> None:
    harness.upstream.steps(*["running"] * 8, "succeeded")
    job_id = await harness.new_job()
    job = await harness.until(job_id, "running")
    checkpoint = {
        "step_number": 40,
        "fine_tuned_model_checkpoint": "ft:up:ckpt-step-40",
        "metrics": {},
        "created_at": 5,
    }
    harness.upstream.put_job(id=job.upstream_job_id, _checkpoints=[{"id": "ftckpt-up", **checkpoint}])
    kinds = []
    for last in (4, 30, 31, 70, 75, 76):
        message = [{"id": f"ftevent-m-{last}", "created_at": 5, "message": "A checkpoint may exist"}]
        harness.upstream.put_job(id=job.upstream_job_id, _events=[*metrics(job, range(1, last + 1)), *message])
        job = await harness.step(job_id)
        kinds.append((job.verdict or {}).get("kind"))
    assert kinds == [None, "still_falling", "still_falling", "over_fitted", "over_fitted", "over_fitted"]
    assert await verdict_events(harness, job_id) == [("warn", "over_fitted")]
    ended = await harness.until_end(job_id)
    assert await verdict_events(harness, job_id) == [("warn", "over_fitted")] * 2
    shown = msgspec.convert(ended.verdict, Verdict)
    assert (shown.kind, shown.step) == ("over_fitted", 42)
    async with harness.ctx.db.worker() as session:
        names = list(await session.scalars(select(Checkpoint.name).where(Checkpoint.job_id == job_id)))
    assert [shown.recommended_checkpoint] == names
    assert [(each.setting, each.change) for each in shown.advice][1] == ("training_file", "from 12 to 24 examples")


async def test_the_final_verdict_is_that_of_all_metrics_with_those_of_the_result_file(harness: WorkerHarness) -> None:
    job_id = await harness.new_job()
    job = await harness.until(job_id, "running")
    harness.upstream.put_job(id=job.upstream_job_id, _events=metrics(job, range(1, 31)))
    rows = [f"{each.step},{each.train_loss},,{each.valid_loss}," for each in OVER_FITTED.steps]
    header = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    harness.upstream.fault("GET /v1/files/[^/]+/content", {"status": 200, "body": "\n".join([header, *rows])}, times=0)
    ended = await harness.until_end(job_id)
    assert (ended.verdict or {}).get("kind") == "over_fitted"
    assert await verdict_events(harness, job_id) == [("warn", "over_fitted")]


async def test_a_job_of_few_steps_has_none_and_no_event(harness: WorkerHarness) -> None:
    job_id = await harness.new_job()
    ended = await harness.until_end(job_id)
    assert (ended.verdict, await verdict_events(harness, job_id)) == (None, [])


async def test_a_verdict_that_cannot_be_made_keeps_no_job_from_its_end(harness: WorkerHarness) -> None:
    harness.upstream.steps("running", "running", "running", "succeeded")
    job_id = await harness.new_job()
    job = await harness.until(job_id, "running")
    async with harness.ctx.db.worker() as session:
        broken = {"report": text("jsonb_set(report, '{examples}', '\"many\"')")}
        await session.execute(update(FileReport).where(FileReport.file_id == job.training_file_id).values(broken))
    harness.upstream.put_job(id=job.upstream_job_id, _events=metrics(job, range(1, LENGTH + 1)))
    ended = await harness.until_end(job_id)
    assert (ended.state, ended.verdict) == ("succeeded", None)
    assert len([message for message in await harness.messages(job_id) if message.startswith("Step ")]) == LENGTH


async def test_of_a_hundred_thousand_steps_a_thousand_of_each_loss_are_read(harness: WorkerHarness) -> None:
    job_id = await harness.new_job()
    async with harness.ctx.db.worker() as session:
        rows = "SELECT :job, :project, step, 2 - step / 100000.0 FROM generate_series(1, 100000) AS step"
        await session.execute(
            text(f"INSERT INTO job_metrics (job_id, project_id, step, train_loss) {rows}"),
            {"job": job_id, "project": harness.project_id},
        )
        for at in range(10_000, 100_001, 10_000):
            row = await session.get_one(JobMetric, (job_id, at))
            row.full_valid_loss = 2.0
        await session.flush()
        curve = await read_curve(session, job_id)
    assert len(curve.steps) <= MAX_POINTS + 10, "what is read"
    train, full = series(curve, "train_loss"), series(curve, "full_valid_loss")
    assert (len(train), train.steps[-1]) == (MAX_POINTS, 100_000)
    assert (len(full), full.steps[0], full.steps[-1]) == (10, 10_000, 100_000)
    assert curve.total_steps is None


async def test_steps_without_a_finite_loss_at_the_end_are_a_divergence(harness: WorkerHarness) -> None:
    job_id = await harness.new_job()
    async with harness.ctx.db.worker() as session:
        for step in range(1, 41):
            loss = 2.0 - step / 40 if step < 30 and step != 7 else None
            session.add(JobMetric(job_id=job_id, project_id=harness.project_id, step=step, train_loss=loss))
        await session.flush()
        found = verdict(await read_curve(session, job_id), Training(has_ended=True))
    assert found is not None
    assert (found.kind, found.step) == ("diverged", 30)


def test_a_job_of_a_hundred_thousand_steps_gets_its_verdict_a_hundred_times() -> None:
    due = [step for step in range(1, 100_001) if is_due([step])]
    assert due[:8] == [8, 9, 10, 11, 12, 13, 15, 16]
    assert len(due) == 99
    assert sum(due) < 11 * 100_000
    assert not is_due([])
    assert is_due(range(17, 30)), "a poll that fetches several steps passes one of them"


@pytest.mark.parametrize("total", [None, True, 0, -1, 10**40, "80", 2.5])
def test_a_number_of_steps_that_is_none_is_left_out(total: Any) -> None:
    assert total_steps_in({"total_steps": total}) is None
    assert total_steps_in(None) is None
    assert total_steps_in({"total_steps": LENGTH}) == LENGTH
