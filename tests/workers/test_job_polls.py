"""A job that runs upstream: it ends when the upstream says so in words that we know, and never for another reason."""

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import select

from service.database.tables import Checkpoint, JobMetric
from tests.faults.control import CANCEL, EVENTS, RETRIEVE, error
from tests.workers.account_polls import patient
from tests.workers.harness import WorkerHarness
from workers.jobs.poll import LOST_AFTER

PAUSE = "POST /v1/fine_tuning/jobs/[^/]+/pause"
CHECKPOINTS = "GET /v1/fine_tuning/jobs/[^/]+/checkpoints"
HOSTILE: list[Any] = ["a\x00b\ud800c", 10**40, float("nan"), True, {"a": 1}]


class TestStatuses:
    async def test_an_unknown_one_is_no_end(self, harness: WorkerHarness) -> None:
        harness.upstream.steps("running", "pondering", {"status": None}, {"status": 7}, "finished", "succeeded")
        job_id = await harness.new_job()
        job = await harness.until(job_id, "running")
        seen = []
        while job.state == "running":
            job = await harness.step(job_id)
            seen.append(job.upstream_status)
        assert seen == ["running", "pondering", "unknown", "unknown", "finished", "succeeded"]
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)

    @pytest.mark.parametrize("end", ["failed", "cancelled"])
    async def test_another_end_posts_what_was_trained(self, harness: WorkerHarness, end: str) -> None:
        reported = {"code": "exceeded", "message": "Too much.", "param": None} if end == "failed" else None
        harness.upstream.steps("running", {"status": end, "trained_tokens": 1000, "error": reported})
        job_id = await harness.new_job()
        job = await harness.until_end(job_id)
        assert (job.state, job.cost_micros, job.error_code) == (end, 3000, "exceeded" if reported else None)
        await harness.assert_ended_once(job_id, entries=["reserve", "post"])


class TestAnUpstreamThatIsAway:
    async def test_is_waited_for(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        await harness.until(job_id, "running")
        harness.upstream.listen(on=False)
        job = await harness.steps(job_id, LOST_AFTER + 2)
        assert (job.state, job.failures) == ("running", 0)
        harness.upstream.listen(on=True)
        harness.upstream.fault(RETRIEVE, {"status": 502, "body": "<html>"}, times=LOST_AFTER + 2)
        assert (await harness.steps(job_id, LOST_AFTER + 2)).state == "running"
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)

    async def test_or_refuses_us_holds_the_account_and_loses_nothing(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        await harness.until(job_id, "running")
        harness.upstream.fault(RETRIEVE, error(401))
        job = await harness.step(job_id)
        account = await harness.account()
        assert (job.state, account.cool_down_reason) == ("running", "the upstream refuses our credential")
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)


class TestAJobThatTheUpstreamDoesNotKnow:
    async def test_is_looked_for_with_growing_pauses_and_then_failed(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        job = await harness.until(job_id, "running")
        harness.upstream.put_job(id=job.upstream_job_id, _gone=True)
        harness = patient(harness, 30.0)  # the pauses are long, and what a step takes is nothing beside them
        waited = []
        for _ in range(LOST_AFTER - 1):
            before = dt.datetime.now(dt.UTC)
            job = await harness.step(job_id)
            assert (job.state, job.due_at is not None) == ("running", True)
            waited.append(job.due_at - before if job.due_at else None)
        assert waited[-1] > waited[0] * 4  # type: ignore[operator]
        job = await harness.until_end(job_id)
        assert (job.state, job.error_code, job.cost_micros) == ("failed", "upstream_job_lost", 0)
        await harness.assert_ended_once(job_id, entries=["reserve", "void"])

    async def test_for_a_while_is_not_lost(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        await harness.until(job_id, "running")
        harness.upstream.fault(RETRIEVE, error(404), times=LOST_AFTER - 1)
        assert (await harness.steps(job_id, LOST_AFTER - 1)).failures == LOST_AFTER - 1
        assert (await harness.step(job_id)).failures == 0
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)


class TestWhatAnUpstreamLacks:
    """Endpoints beside the job itself: a provider may not have them, and no job may hang or be lost for that."""

    @pytest.mark.parametrize("match", [EVENTS, CHECKPOINTS])
    @pytest.mark.parametrize("status", [404, 500])
    async def test_events_and_checkpoints(self, harness: WorkerHarness, match: str, status: int) -> None:
        harness.upstream.fault(match, error(status), times=0)
        harness.upstream.steps(*["running"] * (LOST_AFTER + 1), "succeeded")
        job_id = await harness.new_job()
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)

    async def test_cancels(self, harness: WorkerHarness) -> None:
        harness.upstream.fault(CANCEL, error(404), times=0)
        harness.upstream.steps(*["running"] * (LOST_AFTER + 1), "succeeded")
        job_id = await harness.new_job()
        await harness.until(job_id, "running")
        await harness.request_cancel(job_id)
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)

    async def test_pauses(self, harness: WorkerHarness) -> None:
        harness.upstream.fault(PAUSE, error(404), times=0)
        harness.upstream.steps(*["running"] * (LOST_AFTER + 1), "succeeded")
        job_id = await harness.new_job()
        await harness.until(job_id, "running")
        await harness.request_pause(job_id, pause=True)
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)


class TestEvents:
    async def test_are_written_once_in_order_whatever_repeats(self, harness: WorkerHarness) -> None:
        harness.upstream.configure(page_size=2)
        harness.upstream.steps("running", "running", "succeeded")
        job_id = await harness.new_job()
        job = await harness.until(job_id, "running")
        reported = [
            {"id": f"ftevent-{place}", "created_at": 5, "message": f"Event {place}"} for place in (1, 2, 2, 3, 1, 4)
        ]
        harness.upstream.put_job(id=job.upstream_job_id, _events=reported)
        await harness.step(job_id)
        harness.upstream.put_job(id=job.upstream_job_id, _events=[*reported, {"id": "ftevent-5", "message": "Event 5"}])
        await harness.until_end(job_id)
        messages = [message for message in await harness.messages(job_id) if message.startswith("Event")]
        assert sorted(messages) == [f"Event {place}" for place in range(1, 6)]
        assert messages[-1] == "Event 5"

    async def test_of_a_cursor_that_is_gone_are_not_taken_twice(self, harness: WorkerHarness) -> None:
        harness.upstream.steps("running", "running", "succeeded")
        job_id = await harness.new_job()
        job = await harness.until(job_id, "running")
        reported = [{"id": f"ftevent-{place}", "message": f"Event {place}"} for place in range(4)]
        harness.upstream.put_job(id=job.upstream_job_id, _events=reported)
        await harness.step(job_id)
        harness.upstream.put_job(id=job.upstream_job_id, _events=reported[:3])
        await harness.until_end(job_id)
        messages = [message for message in await harness.messages(job_id) if message.startswith("Event")]
        assert messages == [f"Event {place}" for place in range(4)]


class TestAnUpstreamThatTalksNonsense:
    @pytest.mark.parametrize("nonsense", HOSTILE, ids=[ascii(value) for value in HOSTILE])
    async def test_does_not_keep_a_job_from_its_end(self, harness: WorkerHarness, nonsense: Any) -> None:
        said = dict.fromkeys(("level", "type", "message", "created_at"), nonsense)
        figures = {"step": nonsense, "train_loss": nonsense, "\x00": nonsense}
        events = [
            {"id": "ftevent-1", **said, "data": figures},
            {"id": "ftevent-2", "type": "metrics", "data": figures},
            {"id": "ftevent-3", "type": "metrics", "data": {**figures, "step": 1}},
            {"id": nonsense, **said, "data": nonsense},
        ]
        names = ("id", "created_at", "step_number", "fine_tuned_model_checkpoint", "metrics")
        fields = ("error", "result_files", "estimated_finish", "trained_tokens", "created_at", "metadata", "model")
        harness.upstream.steps("running", {"status": "failed", **dict.fromkeys(fields, nonsense)})
        job_id = await harness.new_job()
        job = await harness.until(job_id, "running")
        harness.upstream.put_job(id=job.upstream_job_id, _events=events, _checkpoints=[dict.fromkeys(names, nonsense)])
        assert (await harness.until_end(job_id)).state == "failed"
        assert (await harness.balance()).reserved_micros == 0


async def test_metrics_and_checkpoints_are_taken_with_their_names(harness: WorkerHarness) -> None:
    harness.upstream.steps("running", "succeeded")
    job_id = await harness.new_job()
    job = await harness.until(job_id, "running")
    checkpoint = {
        "id": "ftckpt-1",
        "created_at": 5,
        "step_number": 2,
        "fine_tuned_model_checkpoint": "ft:theirs:ckpt",
        "metrics": {"step": 2, "train_loss": 0.5},
    }
    harness.upstream.put_job(id=job.upstream_job_id, _checkpoints=[checkpoint, checkpoint])
    await harness.until_end(job_id)
    async with harness.ctx.db.worker() as session:
        steps = list(await session.scalars(select(JobMetric.step).where(JobMetric.job_id == job_id)))
        [kept] = (await session.scalars(select(Checkpoint).where(Checkpoint.job_id == job_id))).all()
    assert sorted(steps) == [1, 2, 3]
    assert (kept.step_number, kept.metrics["train_loss"]) == (2, 0.5)
    assert "theirs" not in kept.name


class TestPendingRequests:
    async def test_pause_and_resume_are_passed_on_once(self, harness: WorkerHarness) -> None:
        harness.upstream.steps("running")
        job_id = await harness.new_job()
        await harness.until(job_id, "running")
        await harness.request_pause(job_id, pause=True)
        job = await harness.steps(job_id, 3)
        assert (job.state, job.upstream_status, job.pause_sent) == ("running", "paused", True)
        await harness.request_pause(job_id, pause=False)
        harness.upstream.put_job(id=job.upstream_job_id, _before_pause=[{"status": "succeeded"}])
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)
        for action in ("pause", "resume"):
            assert len(harness.upstream.seen(f"POST /v1/fine_tuning/jobs/{job.upstream_job_id}/{action}")) == 1

    async def test_a_cancel_that_comes_too_late_changes_nothing(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        job = await harness.until(job_id, "running")
        harness.upstream.put_job(id=job.upstream_job_id, _polls=9)
        await harness.request_cancel(job_id)
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)
