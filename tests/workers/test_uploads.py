"""Each dataset is upstream once per account, project and content."""

import asyncio

import pytest

from tests.faults.control import UPLOAD, error
from tests.workers.harness import WorkerHarness
from workers.jobs.advance import MAX_CRASHES


async def test_jobs_that_share_a_file_send_it_once(harness: WorkerHarness) -> None:
    harness.upstream.fault(UPLOAD, None, late=0.3)
    same = await harness.new_file()
    jobs = [
        await harness.new_job(training=same),
        await harness.new_job(training=await harness.new_file(), validation=same),
    ]
    await asyncio.gather(*(harness.until(job_id, "waiting") for job_id in jobs))
    await harness.run_scheduling_pass()
    sharing = asyncio.gather(*(harness.step(job_id) for job_id in jobs))
    await sharing
    for job_id in jobs:
        await harness.until_end(job_id)
        assert (await harness.job(job_id)).state == "succeeded"
    assert len(harness.upstream.files()) == 1, "the same content twice"
    assert {create["body"]["training_file"] for create in harness.upstream.creates()} == {"file-up000001"}


@pytest.mark.parametrize(
    "answer", ["reset", "cut", error(500), {"status": 200, "body": {}}, {"status": 200, "body": "hi"}]
)
async def test_one_whose_answer_was_lost_is_found_again_by_its_name(harness: WorkerHarness, answer: object) -> None:
    harness.upstream.configure(page_size=1)
    harness.upstream.fault(UPLOAD, answer, made=True)
    job_id = await harness.new_job(validation=await harness.new_file("\n"))
    await harness.until_end(job_id)
    await harness.assert_succeeded_once(job_id)
    assert len(harness.upstream.seen(UPLOAD)) == len(harness.upstream.files()) == 2


@pytest.mark.parametrize("answer", ["reset", error(500), error(429), error(401)], ids=["reset", "500", "429", "401"])
async def test_one_that_was_not_made_is_sent_again(harness: WorkerHarness, answer: object) -> None:
    harness.upstream.fault(UPLOAD, answer)
    job_id = await harness.new_job()
    await harness.until_end(job_id)
    await harness.assert_succeeded_once(job_id)
    assert (len(harness.upstream.seen(UPLOAD)), len(harness.upstream.files())) == (2, 1)


async def test_one_that_is_refused_ends_its_job_and_not_the_next(harness: WorkerHarness) -> None:
    harness.upstream.fault(UPLOAD, error(400))
    same = await harness.new_file()
    refused, later = await harness.new_job(training=same), await harness.new_job(training=same)
    job = await harness.until_end(refused)
    assert (job.state, job.error_code) == ("failed", "upstream_refused_file")
    await harness.until_end(later)
    assert (await harness.job(later)).state == "succeeded"


async def test_a_file_whose_bytes_are_lost_here_ends_its_job(harness: WorkerHarness) -> None:
    job_id = await harness.new_job(training=await harness.new_file(stored=False))
    await harness.until(job_id, "uploading")
    for _ in range(MAX_CRASHES):
        job = await harness.step(job_id)
        await harness.end_leases()
    assert (job.state, job.error_code) == ("failed", "internal_error")
    await harness.assert_ended_once(job_id, entries=["reserve", "void"])


async def test_a_cancel_before_sends_nothing(harness: WorkerHarness) -> None:
    job_id = await harness.new_job()
    await harness.until(job_id, "uploading")
    await harness.request_cancel(job_id)
    assert (await harness.step(job_id)).state == "cancelled"
    assert (harness.upstream.files(), harness.upstream.jobs()) == ([], [])
    await harness.assert_ended_once(job_id, entries=["reserve", "void"])
