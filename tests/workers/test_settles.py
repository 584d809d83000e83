"""The end of a job: its books are closed once, whatever the upstream still has to say about it."""

import asyncio

import pytest

from service.database.leases import LeaseLost
from tests.faults.control import CONTENT, RETRIEVE, error
from tests.workers.harness import Bench
from workers.jobs.settle import MAX_ATTEMPTS, settle


class TestWhatIsSaidLater:
    async def test_trained_tokens_are_asked_for_again(self, bench: Bench) -> None:
        unsaid = {"status": "succeeded", "trained_tokens": None}
        bench.upstream.steps("running", unsaid, unsaid, unsaid, "succeeded")
        job_id = await bench.new_job()
        await bench.until_end(job_id)
        job = await bench.assert_succeeded_once(job_id)
        assert (job.trained_tokens, job.cost_micros) == (3000, 9000)

    async def test_and_at_last_the_expected_price_is_posted_with_a_warning(self, bench: Bench) -> None:
        bench.upstream.steps("running", {"status": "succeeded", "trained_tokens": None})
        job_id = await bench.new_job()
        await bench.until_end(job_id)
        job = await bench.assert_succeeded_once(job_id)
        assert (job.trained_tokens, job.cost_micros) == (None, job.expected_micros)
        [warning] = await bench.messages(job_id, "warn")
        assert "no trained tokens" in warning

    async def test_a_model_that_is_named_later_is_waited_for(self, bench: Bench) -> None:
        unnamed = {"status": "succeeded", "fine_tuned_model": None}
        bench.upstream.steps("running", unnamed, unnamed, "succeeded")
        job_id = await bench.new_job()
        await bench.until_end(job_id)
        await bench.assert_succeeded_once(job_id)

    async def test_one_that_is_never_named_fails_the_job(self, bench: Bench) -> None:
        bench.upstream.steps("running", {"status": "succeeded", "fine_tuned_model": None})
        job_id = await bench.new_job()
        job = await bench.until_end(job_id)
        assert (job.state, job.error_code) == ("failed", "upstream_failed")
        await bench.assert_ended_once(job_id, entries=["reserve", "post"])

    async def test_a_success_that_a_replica_takes_back_for_a_while_stays_one(self, bench: Bench) -> None:
        bench.upstream.steps("running", "succeeded", *["running"] * (MAX_ATTEMPTS + 2), "succeeded")
        job_id = await bench.new_job()
        await bench.until_end(job_id)
        await bench.assert_succeeded_once(job_id)


class TestResultFiles:
    async def test_are_tried_again(self, bench: Bench) -> None:
        bench.upstream.fault(CONTENT, error(500), times=2)
        bench.upstream.fault(CONTENT, "cut", times=1)
        job_id = await bench.new_job()
        await bench.until_end(job_id)
        await bench.assert_succeeded_once(job_id)
        assert await bench.messages(job_id, "warn") == []

    @pytest.mark.parametrize("answer", [error(500), error(404), "reset"], ids=["500", "404", "reset"])
    async def test_that_cannot_be_read_leave_a_warning_and_a_success(self, bench: Bench, answer: object) -> None:
        bench.upstream.fault(CONTENT, answer, times=0)
        job_id = await bench.new_job()
        job = await bench.until_end(job_id)
        assert (job.state, job.result_file_ids) == ("succeeded", [])
        [warning] = await bench.messages(job_id, "warn")
        assert "could not be read" in warning
        await bench.assert_ended_once(job_id, entries=["reserve", "post"])

    @pytest.mark.parametrize(
        "content", ["step,train_loss\n1," + "9" * 200_000, "\x00\x01", "", 'step\n"', "step\n99999999999999999999"]
    )
    async def test_of_nonsense_are_kept_as_they_are(self, bench: Bench, content: str) -> None:
        bench.upstream.fault(CONTENT, {"status": 200, "body": content}, times=0)
        job_id = await bench.new_job()
        await bench.until_end(job_id)
        await bench.assert_succeeded_once(job_id)


class TestTheUpstreamIsGone:
    async def test_for_a_while_loses_nothing(self, bench: Bench) -> None:
        job_id = await bench.new_job()
        await bench.until(job_id, "settling")
        bench.upstream.listen(on=False)
        assert (await bench.steps(job_id, 2 * MAX_ATTEMPTS)).state == "settling"
        bench.upstream.listen(on=True)
        bench.upstream.fault(RETRIEVE, error(404), times=3)
        await bench.until_end(job_id)
        await bench.assert_succeeded_once(job_id)

    async def test_for_good_ends_the_job_as_lost(self, bench: Bench) -> None:
        job_id = await bench.new_job()
        job = await bench.until(job_id, "settling")
        bench.upstream.put_job(id=job.upstream_job_id, _gone=True)
        job = await bench.until_end(job_id)
        assert (job.state, job.error_code) == ("failed", "upstream_job_lost")
        await bench.assert_ended_once(job_id, entries=["reserve", "void"])


async def test_two_workers_that_close_the_same_books_close_them_once(bench: Bench) -> None:
    """The first worker's lease is over without its noticing; both are in the middle of it."""
    job_id = await bench.new_job()
    await bench.until(job_id, "settling")
    first = await bench.claim(job_id)
    await bench.end_leases()
    second = await bench.claim(job_id)
    assert first is not None
    assert second is not None
    ctx = await bench.at_account()
    outcomes = await asyncio.gather(settle(ctx, first), settle(ctx, second), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LeaseLost, type(None)]
    await bench.assert_succeeded_once(job_id)
