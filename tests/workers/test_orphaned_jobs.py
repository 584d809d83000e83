"""The sweep cancels what is ours and nobody's. It leaves alone what is foreign, in doubt, or unknown to a copy."""

from service.upstreams.labels import labels
from tests.faults.control import CANCEL, CREATE, LIST, error
from tests.workers.harness import WorkerHarness
from workers.maintenance import orphaned_upstream_jobs


async def running(harness: WorkerHarness) -> str:
    """A job that runs upstream."""
    harness.upstream.steps("running")
    job_id = await harness.new_job()
    await harness.until(job_id, "running")
    return job_id


class TestWhatIsCancelled:
    async def test_a_second_job_of_one_job(self, harness: WorkerHarness) -> None:
        job_id = await running(harness)
        orphan = harness.upstream.put_job(metadata=labels(harness.ctx.instance, job_id, 7), status="some new word")
        assert await orphaned_upstream_jobs.cancel_orphaned_jobs(harness.ctx) == 1
        assert [each["id"] for each in harness.upstream.unended()] == [(await harness.job(job_id)).upstream_job_id]
        [call] = [call for call in await harness.calls(job_id) if call.upstream_job_id == orphan["id"]]
        assert (call.attempt, call.cancelled_as_orphan_at is not None) == (7, True)

    async def test_a_job_of_one_that_ended_without_any(self, harness: WorkerHarness) -> None:
        harness.upstream.fault(CREATE, error(400))
        job_id = await harness.new_job()
        await harness.until_end(job_id)
        harness.upstream.put_job(metadata=labels(harness.ctx.instance, job_id, 1))
        assert await orphaned_upstream_jobs.cancel_orphaned_jobs(harness.ctx) == 1
        assert harness.upstream.unended() == []

    async def test_what_could_not_be_listed_or_cancelled_is_found_by_the_next_sweep(
        self, harness: WorkerHarness
    ) -> None:
        job_id = await running(harness)
        harness.upstream.put_job(metadata=labels(harness.ctx.instance, job_id, 7))
        harness.upstream.fault(LIST, error(500))
        harness.upstream.fault(CANCEL, error(500))
        assert (await orphaned_upstream_jobs.cancel_orphaned_jobs(harness.ctx), len(harness.upstream.unended())) == (
            0,
            2,
        )
        assert (await orphaned_upstream_jobs.cancel_orphaned_jobs(harness.ctx), len(harness.upstream.unended())) == (
            1,
            2,
        )
        assert (await orphaned_upstream_jobs.cancel_orphaned_jobs(harness.ctx), len(harness.upstream.unended())) == (
            1,
            1,
        )


class TestWhatIsLeftAlone:
    async def test_foreign_jobs_jobs_in_doubt_and_jobs_on_record(self, harness: WorkerHarness) -> None:
        on_record = await running(harness)
        harness.upstream.fault(CREATE, "reset", made=True)
        in_doubt = await harness.new_job()
        await harness.until_sent(in_doubt)
        harness.upstream.configure(ignores_metadata=True, page_size=2)
        for metadata in (
            labels("another gateway", on_record, 1),
            labels(harness.ctx.instance, "ftjob-nobody-knows", 1),
            {**labels("another gateway", on_record, 1), "tunegate_gateway": ""},
            {"tunegate_job": on_record},
            {},
            None,
        ):
            harness.upstream.put_job(metadata=metadata)
        before = len(harness.upstream.unended())
        assert before == 8
        assert (await orphaned_upstream_jobs.cancel_orphaned_jobs(harness.ctx), len(harness.upstream.unended())) == (
            0,
            before,
        )

    async def test_jobs_that_a_restored_copy_of_the_database_has_not_sent_yet(self, harness: WorkerHarness) -> None:
        """The copy has our instance. It adopts what production has sent and cancels nothing."""
        job_id = await running(harness)
        await harness.set_job(
            job_id, state="creating", create_phase="intent", upstream_job_id=None, upstream_status=None, started_at=None
        )
        accepted_later = harness.upstream.put_job(metadata=labels(harness.ctx.instance, "ftjob-later", 1))
        assert await orphaned_upstream_jobs.cancel_orphaned_jobs(harness.ctx) == 0
        await harness.until(job_id, "running")
        assert await orphaned_upstream_jobs.cancel_orphaned_jobs(harness.ctx) == 0
        assert (len(harness.upstream.creates()), len(harness.upstream.unended())) == (1, 2)
        assert accepted_later["id"] in [each["id"] for each in harness.upstream.unended()]
