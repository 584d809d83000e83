"""The end of a job: its books are closed once, whatever the upstream still has to say about it."""

import asyncio

import pytest

from service.database.leases import LeaseLost
from tests.faults.control import CONTENT, RETRIEVE, error
from tests.workers.harness import WorkerHarness
from workers.jobs.settle import MAX_ATTEMPTS, settle


class TestWhatIsSaidLater:
    async def test_trained_tokens_are_asked_for_again(self, harness: WorkerHarness) -> None:
        unsaid = {"status": "succeeded", "trained_tokens": None}
        harness.upstream.steps("running", unsaid, unsaid, unsaid, "succeeded")
        job_id = await harness.new_job()
        await harness.until_end(job_id)
        job = await harness.assert_succeeded_once(job_id)
        assert (job.trained_tokens, job.cost_micros) == (3000, 9000)

    async def test_and_at_last_the_expected_price_is_posted_with_a_warning(self, harness: WorkerHarness) -> None:
        harness.upstream.steps("running", {"status": "succeeded", "trained_tokens": None})
        job_id = await harness.new_job()
        await harness.until_end(job_id)
        job = await harness.assert_succeeded_once(job_id)
        assert (job.trained_tokens, job.cost_micros) == (None, job.expected_micros)
        [warning] = await harness.messages(job_id, "warn")
        assert "no trained tokens" in warning

    async def test_a_model_that_is_named_later_is_waited_for(self, harness: WorkerHarness) -> None:
        unnamed = {"status": "succeeded", "fine_tuned_model": None}
        harness.upstream.steps("running", unnamed, unnamed, "succeeded")
        job_id = await harness.new_job()
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)

    async def test_one_that_is_never_named_fails_the_job(self, harness: WorkerHarness) -> None:
        harness.upstream.steps("running", {"status": "succeeded", "fine_tuned_model": None})
        job_id = await harness.new_job()
        job = await harness.until_end(job_id)
        assert (job.state, job.error_code) == ("failed", "upstream_failed")
        await harness.assert_ended_once(job_id, entries=["reserve", "post"])

    async def test_a_success_that_a_replica_takes_back_for_a_while_stays_one(self, harness: WorkerHarness) -> None:
        harness.upstream.steps("running", "succeeded", *["running"] * (MAX_ATTEMPTS + 2), "succeeded")
        job_id = await harness.new_job()
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)


class TestResultFiles:
    async def test_are_tried_again(self, harness: WorkerHarness) -> None:
        harness.upstream.fault(CONTENT, error(500), times=2)
        harness.upstream.fault(CONTENT, "cut", times=1)
        job_id = await harness.new_job()
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)
        assert await harness.messages(job_id, "warn") == []

    @pytest.mark.parametrize("answer", [error(500), error(404), "reset"], ids=["500", "404", "reset"])
    async def test_that_cannot_be_read_leave_a_warning_and_a_success(
        self, harness: WorkerHarness, answer: object
    ) -> None:
        harness.upstream.fault(CONTENT, answer, times=0)
        job_id = await harness.new_job()
        job = await harness.until_end(job_id)
        assert (job.state, job.result_file_ids) == ("succeeded", [])
        [warning] = await harness.messages(job_id, "warn")
        assert "could not be read" in warning
        await harness.assert_ended_once(job_id, entries=["reserve", "post"])

    @pytest.mark.parametrize(
        "content", ["step,train_loss\n1," + "9" * 200_000, "\x00\x01", "", 'step\n"', "step\n99999999999999999999"]
    )
    async def test_of_nonsense_are_kept_as_they_are(self, harness: WorkerHarness, content: str) -> None:
        harness.upstream.fault(CONTENT, {"status": 200, "body": content}, times=0)
        job_id = await harness.new_job()
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)


class TestTheUpstreamIsGone:
    async def test_for_a_while_loses_nothing(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        await harness.until(job_id, "settling")
        harness.upstream.listen(on=False)
        assert (await harness.steps(job_id, 2 * MAX_ATTEMPTS)).state == "settling"
        harness.upstream.listen(on=True)
        harness.upstream.fault(RETRIEVE, error(404), times=3)
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)

    async def test_for_good_ends_the_job_as_lost(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        job = await harness.until(job_id, "settling")
        harness.upstream.put_job(id=job.upstream_job_id, _gone=True)
        job = await harness.until_end(job_id)
        assert (job.state, job.error_code) == ("failed", "upstream_job_lost")
        await harness.assert_ended_once(job_id, entries=["reserve", "void"])


async def test_two_workers_that_close_the_same_books_close_them_once(harness: WorkerHarness) -> None:
    """The first worker's lease is over without its noticing; both are in the middle of it."""
    job_id = await harness.new_job()
    await harness.until(job_id, "settling")
    first = await harness.claim(job_id)
    await harness.end_leases()
    second = await harness.claim(job_id)
    assert first is not None
    assert second is not None
    ctx = await harness.at_account()
    outcomes = await asyncio.gather(settle(ctx, first), settle(ctx, second), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LeaseLost, type(None)]
    await harness.assert_succeeded_once(job_id)
