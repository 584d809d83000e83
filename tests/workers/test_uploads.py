"""Each dataset is upstream once per account, project and content."""

import asyncio

import pytest

from tests.faults.control import UPLOAD, error
from tests.workers.harness import Bench
from workers.jobs.advance import MAX_CRASHES


async def test_jobs_that_share_a_file_send_it_once(bench: Bench) -> None:
    bench.upstream.fault(UPLOAD, None, late=0.3)
    same = await bench.new_file()
    jobs = [await bench.new_job(training=same), await bench.new_job(training=await bench.new_file(), validation=same)]
    await asyncio.gather(*(bench.until(job_id, "waiting") for job_id in jobs))
    await bench.turn()
    sharing = asyncio.gather(*(bench.step(job_id) for job_id in jobs))
    await sharing
    for job_id in jobs:
        await bench.until_end(job_id)
        assert (await bench.job(job_id)).state == "succeeded"
    assert len(bench.upstream.files()) == 1, "the same content twice"
    assert {create["body"]["training_file"] for create in bench.upstream.creates()} == {"file-up000001"}


@pytest.mark.parametrize(
    "answer", ["reset", "cut", error(500), {"status": 200, "body": {}}, {"status": 200, "body": "hi"}]
)
async def test_one_whose_answer_was_lost_is_found_again_by_its_name(bench: Bench, answer: object) -> None:
    bench.upstream.world(page_size=1)
    bench.upstream.fault(UPLOAD, answer, made=True)
    job_id = await bench.new_job(validation=await bench.new_file("\n"))
    await bench.until_end(job_id)
    await bench.assert_succeeded_once(job_id)
    assert len(bench.upstream.seen(UPLOAD)) == len(bench.upstream.files()) == 2


@pytest.mark.parametrize("answer", ["reset", error(500), error(429), error(401)], ids=["reset", "500", "429", "401"])
async def test_one_that_was_not_made_is_sent_again(bench: Bench, answer: object) -> None:
    bench.upstream.fault(UPLOAD, answer)
    job_id = await bench.new_job()
    await bench.until_end(job_id)
    await bench.assert_succeeded_once(job_id)
    assert (len(bench.upstream.seen(UPLOAD)), len(bench.upstream.files())) == (2, 1)


async def test_one_that_is_refused_ends_its_job_and_not_the_next(bench: Bench) -> None:
    bench.upstream.fault(UPLOAD, error(400))
    same = await bench.new_file()
    refused, later = await bench.new_job(training=same), await bench.new_job(training=same)
    job = await bench.until_end(refused)
    assert (job.state, job.error_code) == ("failed", "upstream_refused_file")
    await bench.until_end(later)
    assert (await bench.job(later)).state == "succeeded"


async def test_a_file_whose_bytes_are_lost_here_ends_its_job(bench: Bench) -> None:
    job_id = await bench.new_job(training=await bench.new_file(stored=False))
    await bench.until(job_id, "uploading")
    for _ in range(MAX_CRASHES):
        job = await bench.step(job_id)
        await bench.end_leases()
    assert (job.state, job.error_code) == ("failed", "internal_error")
    await bench.assert_ended_once(job_id, entries=["reserve", "void"])


async def test_a_cancel_before_sends_nothing(bench: Bench) -> None:
    job_id = await bench.new_job()
    await bench.until(job_id, "uploading")
    await bench.request_cancel(job_id)
    assert (await bench.step(job_id)).state == "cancelled"
    assert (bench.upstream.files(), bench.upstream.jobs()) == ([], [])
    await bench.assert_ended_once(job_id, entries=["reserve", "void"])
