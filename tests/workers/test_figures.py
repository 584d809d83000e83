"""The figures of a job's row: kept current by polls, and exact when the job has ended."""

import datetime as dt
import time
from typing import Any

import pytest
from sqlalchemy import insert

from service.billing.prices import TOKENS_PER_PRICE
from service.database.tables import JobMetric
from service.jobs.losses import Loss, losses_of
from tests.faults.control import CONTENT, error
from tests.workers.harness import WorkerHarness
from workers.jobs.figures import tokens_per_second

RESULTS = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,0.9,,1.9,\n2,0.4,,1.4,\n3,0.6,,1.6,\n"


def reported(*losses: float, at: int | None = None, **more: Any) -> list[dict[str, Any]]:
    """The events of so many steps of ten."""
    return [
        {
            "id": f"ftevent-{step}",
            "created_at": at if at is not None else int(time.time()),
            "type": "metrics",
            "message": f"Step {step}",
            "data": {"step": step, "total_steps": 10, "train_loss": loss, **more},
        }
        for step, loss in enumerate(losses, 1)
    ]


async def test_polls_keep_the_losses_current(harness: WorkerHarness) -> None:
    harness.upstream.steps(*["running"] * 9)
    job_id = await harness.new_job()
    job = await harness.until(job_id, "running")
    for losses, expected in (
        ((3.0, 1.0), Loss(1.0, 2, 1.0, 2)),
        ((3.0, 1.0, 2.0), Loss(2.0, 3, 1.0, 2)),
        ((3.0, 1.0, 2.0, 0.5), Loss(0.5, 4, 0.5, 4)),
    ):
        harness.upstream.put_job(id=job.upstream_job_id, _events=reported(*losses, valid_loss=7.0))
        found = losses_of(await harness.step(job_id))
        assert (found.train, found.valid) == (expected, Loss(7.0, len(losses), 7.0, 1))


async def test_the_end_counts_the_steps_of_the_result_file_also_where_they_correct_events(
    harness: WorkerHarness,
) -> None:
    """The events' lowest loss was of a step that has another one now: no step has it, and neither has the summary."""
    harness.upstream.steps("running", "running", "succeeded")
    harness.upstream.fault(CONTENT, {"status": 200, "body": RESULTS}, times=0)
    job_id = await harness.new_job()
    job = await harness.until(job_id, "running")
    harness.upstream.put_job(id=job.upstream_job_id, _events=reported(0.1, 0.4))
    running = losses_of(await harness.step(job_id))
    assert running.train is not None
    assert running.train.best == 0.1
    ended = losses_of(await harness.until_end(job_id))
    assert (ended.train, ended.valid, ended.valid_is_full) == (Loss(0.6, 3, 0.4, 2), Loss(1.6, 3, 1.4, 2), False)


async def test_the_end_prefers_the_losses_of_the_whole_validation_file(harness: WorkerHarness) -> None:
    harness.upstream.steps("running", "succeeded")
    harness.upstream.fault(CONTENT, {"status": 200, "body": RESULTS}, times=0)
    job_id = await harness.new_job()
    await harness.until(job_id, "running")
    async with harness.ctx.db.worker() as session:
        row = {"job_id": job_id, "project_id": harness.project_id, "step": 2, "full_valid_loss": 5.0}
        await session.execute(insert(JobMetric).values(**row))
    ended = losses_of(await harness.until_end(job_id))
    assert (ended.valid, ended.valid_is_full) == (Loss(5.0, 2, 5.0, 2), True)


async def test_a_speed_follows_from_the_progress_while_the_job_runs(harness: WorkerHarness) -> None:
    harness.upstream.steps(*["running"] * 9)
    job_id = await harness.new_job()
    job = await harness.until(job_id, "running")
    assert (await harness.step(job_id)).tokens_per_second is None
    began = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=100)
    await harness.set_job(job_id, started_at=began, admitted_at=began)
    harness.upstream.put_job(id=job.upstream_job_id, _events=reported(1.0, 1.0, 1.0))
    found = await harness.step(job_id)
    assert found.price_micros_per_million
    expected = 0.3 * (found.expected_micros or 0) * TOKENS_PER_PRICE / found.price_micros_per_million
    assert found.tokens_per_second == pytest.approx(expected / 100, rel=0.5)
    usage = {"trained_tokens": 50_000}
    harness.upstream.put_job(id=job.upstream_job_id, usage=usage, _events=reported(1.0, 1.0, 1.0, 1.0))
    found = await harness.step(job_id)
    assert found.tokens_per_second == pytest.approx(500, rel=0.5)


async def test_a_training_lasts_from_its_first_step_until_the_upstream_says_so(harness: WorkerHarness) -> None:
    """It has ended before the first poll, and is settled late."""
    now = int(time.time())
    ended = {"status": "succeeded", "finished_at": now - 10}
    harness.upstream.steps(ended)
    job_id = await harness.new_job()
    job = await harness.until(job_id, "running")
    await harness.set_job(job_id, admitted_at=dt.datetime.fromtimestamp(now - 100, dt.UTC))
    harness.upstream.put_job(id=job.upstream_job_id, _events=reported(1.0, 1.0, at=now - 40))
    found = await harness.until_end(job_id)
    assert (found.duration_seconds, found.trained_tokens) == (30.0, 3000)
    assert found.tokens_per_second == 100.0


@pytest.mark.parametrize("at", [1, 10**10], ids=["long ago", "in the future"])
async def test_an_upstream_s_clock_does_not_lengthen_a_training(harness: WorkerHarness, at: int) -> None:
    harness.upstream.steps("running", {"status": "succeeded", "finished_at": at})
    job_id = await harness.new_job()
    job = await harness.until(job_id, "running")
    harness.upstream.put_job(id=job.upstream_job_id, _events=reported(1.0, at=at))
    found = await harness.until_end(job_id)
    assert found.finished_at is not None
    assert found.admitted_at is not None
    assert found.duration_seconds is not None
    whole = (found.finished_at - found.admitted_at).total_seconds()
    assert 0 <= found.duration_seconds <= whole + 1
    assert found.started_at is not None
    assert found.admitted_at <= found.started_at <= found.finished_at + dt.timedelta(seconds=1)


async def test_a_job_that_never_trained_has_no_duration(harness: WorkerHarness) -> None:
    harness.upstream.steps("queued", "cancelled")
    job_id = await harness.new_job()
    await harness.until(job_id, "running")
    found = await harness.until_end(job_id)
    assert (found.state, found.duration_seconds, found.tokens_per_second) == ("cancelled", None, None)


def test_less_than_a_second_tells_no_speed() -> None:
    assert tokens_per_second(3000, 0.0) is None
    assert tokens_per_second(3000, 2.0) == 1500


class TestWarnings:
    async def test_what_a_job_has_to_say_at_its_end(self, harness: WorkerHarness) -> None:
        harness.upstream.steps("running", {"status": "succeeded", "trained_tokens": None})
        harness.upstream.fault(CONTENT, error(404), times=0)
        job_id = await harness.new_job()
        job = await harness.until_end(job_id)
        found = {each["code"]: each["message"] for each in job.warnings or []}
        assert set(found) == {"result_file_lost", "usage_unknown"}
        assert sorted(found.values()) == sorted(await harness.messages(job_id, "warn"))
