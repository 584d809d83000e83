"""Many running jobs of an account are listed by pages; each is polled when the list has an update of it."""

import datetime as dt
from typing import Any

from sqlalchemy import func

from service.database import leases
from service.database.tables import JobState
from service.upstreams import poll_schedule
from service.upstreams.labels import labels
from tests.faults.control import LIST
from tests.workers.account_polls import FAR, MANY, due, end, running, seconds_until_due, set_budget, step, upstream_id
from tests.workers.harness import WorkerHarness


class TestLists:
    async def test_all_pages_are_read_and_unchanged_jobs_are_not_touched(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        harness.upstream.configure(page_size=7)
        before = [await harness.job(job_id) for job_id in job_ids[:3]]
        seen = await step(harness)
        assert (seen.listing, seen.active, seen.recently_viewed, seen.failures) == (True, MANY, 0, 0)
        assert len(harness.upstream.seen(LIST)) == -(-MANY // 7)
        assert await due(harness) == set()
        after = [await harness.job(job_id) for job_id in job_ids[:3]]
        assert [(job.due_at, job.lease_token) for job in after] == [(job.due_at, job.lease_token) for job in before]
        assert not [each for each in harness.upstream.jobs() if each["polls"]], "a job was looked at by itself"

    async def test_it_ends_with_the_oldest_own_job(self, harness: WorkerHarness) -> None:
        await running(harness, MANY)
        for _ in range(10):
            harness.upstream.put_job(metadata=labels(harness.ctx.instance, "ftjob-other", 1), created_at=1000)
        harness.upstream.configure(page_size=5)
        gone = (await running(harness, 1))[0]
        harness.upstream.put_job(id=await upstream_id(harness, gone), _gone=True)
        await step(harness)
        assert len(harness.upstream.seen(LIST)) == MANY // 5 + 1
        assert await due(harness) == {gone}, "it is missing in the list, and looked at by itself"

    async def test_only_jobs_with_updates_are_woken(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        updates: list[dict[str, Any]] = [
            {"_steps": [{"status": "failed"}], "status": "failed"},
            {"status": "paused", "_steps": [{"status": "paused"}]},
            {"trained_tokens": 7},
            {"estimated_finish": 2_000_000_000},
        ]
        for job_id, values in zip(job_ids, updates, strict=False):
            harness.upstream.put_job(id=await upstream_id(harness, job_id), **values)
        await step(harness)
        assert await due(harness) == set(job_ids[: len(updates)])

    async def test_what_it_shows_is_written_without_a_poll(self, harness: WorkerHarness) -> None:
        ended, started, progressed = (await running(harness, MANY))[:3]
        await harness.set_job(started, started_at=None, upstream_status="queued", upstream_snapshot="queued||||")
        harness.upstream.put_job(id=await upstream_id(harness, ended), status="failed")
        harness.upstream.put_job(id=await upstream_id(harness, started), status="running")
        harness.upstream.put_job(
            id=await upstream_id(harness, progressed),
            status="running",
            trained_tokens=7,
            estimated_finish=2_000_000_000,
        )
        tokens = (await harness.job(progressed)).lease_token
        await step(harness)
        assert not [each for each in harness.upstream.jobs() if each["polls"]]
        assert (await harness.job(ended)).state == "settling"
        began = await harness.job(started)
        assert (began.upstream_status, began.started_at is not None) == ("running", True)
        assert await harness.webhooks(started) == ["running"]
        job = await harness.job(progressed)
        assert (job.upstream_snapshot, job.leased_until) == ("running|||7|2000000000", None)
        assert job.estimated_finish_at == dt.datetime.fromtimestamp(2_000_000_000, dt.UTC)
        assert job.lease_token == tokens + 1, "it is written without a claim of its own"

    async def test_a_job_that_was_polled_since_the_request_is_newer_than_the_list(self, harness: WorkerHarness) -> None:
        older, newer = (await running(harness, MANY))[:2]
        await harness.set_job(newer, polled_at=func.now() + dt.timedelta(minutes=1))
        for job_id in (older, newer):
            harness.upstream.put_job(id=await upstream_id(harness, job_id), status="paused")
        await step(harness)
        assert [(await harness.job(job_id)).upstream_status for job_id in (older, newer)] == ["paused", "running"]

    async def test_a_job_that_another_worker_has_claimed_is_left_to_it(self, harness: WorkerHarness) -> None:
        job_id = (await running(harness, MANY))[0]
        harness.upstream.put_job(id=await upstream_id(harness, job_id), status="failed")
        claimed = await harness.claim(job_id)
        assert claimed is not None
        await harness.set_job(job_id, due_at=func.now() + FAR)
        await step(harness)
        job = await harness.job(job_id)
        assert (job.state, job.lease_token) == ("running", claimed.token)

    async def test_a_job_that_cannot_be_written_does_not_delay_the_others(self, harness: WorkerHarness) -> None:
        odd, ended = (await running(harness, MANY))[:2]
        async with harness.ctx.db.worker() as session:
            session.add(JobState(job_id=odd, project_id=harness.project_id, sequence=1, state="settling"))
        for job_id in (odd, ended):
            harness.upstream.put_job(id=await upstream_id(harness, job_id), status="failed")
        await step(harness)
        assert [(await harness.job(job_id)).state for job_id in (odd, ended)] == ["running", "settling"]

    async def test_updates_whose_events_nobody_could_fetch_yet_are_polled_later(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        await set_budget(harness, 200)
        for job_id in job_ids[:3]:
            harness.upstream.put_job(id=await upstream_id(harness, job_id), trained_tokens=7)
        polled: list[str] = []
        for _ in range(4):
            await step(harness)
            for job_id in await due(harness):
                await harness.step(job_id)
                polled.append(job_id)
        assert sorted(polled) == sorted(job_ids[:3]), "one in a list, each once"

    async def test_mere_progress_rests_a_while(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        await harness.set_job(job_ids[0], polled_at=func.now())
        harness.upstream.put_job(id=await upstream_id(harness, job_ids[0]), trained_tokens=7)
        await step(harness)
        assert await due(harness) == set()

    async def test_a_poll_takes_the_updates_and_leaves_the_job_to_the_list(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        harness.upstream.put_job(
            id=await upstream_id(harness, job_ids[0]), _steps=[{"status": "paused"}], status="paused"
        )
        await step(harness)
        job = await harness.step(job_ids[0])
        assert (job.upstream_status, job.upstream_snapshot) == ("paused", "paused||||")
        assert await seconds_until_due(harness, job_ids[0]) > 1000
        await step(harness)
        assert await due(harness) == set()

    async def test_a_job_that_begins_is_left_to_the_list_until_there_are_updates(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        await step(harness)
        theirs = await upstream_id(harness, job_ids[0])
        harness.upstream.put_job(id=theirs, _steps=[{"status": "running"}], status="queued")
        await harness.set_job(
            job_ids[0], polled_at=None, upstream_snapshot=poll_schedule.NEW_JOB_SNAPSHOT, upstream_status="queued"
        )
        await harness.step(job_ids[0])
        await step(harness)
        assert not [each for each in harness.upstream.jobs() if each["polls"]]
        assert await due(harness) == set()
        harness.upstream.put_job(id=theirs, status="running")
        await step(harness)
        assert await due(harness) == {job_ids[0]}
        assert (await harness.step(job_ids[0])).upstream_status == "running"

    async def test_no_more_are_woken_than_can_be_polled_and_ends_come_first(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        await set_budget(harness, 60)
        for job_id in job_ids:
            harness.upstream.put_job(id=await upstream_id(harness, job_id), trained_tokens=7)
        ended = job_ids[MANY // 2]
        harness.upstream.put_job(id=await upstream_id(harness, ended), _steps=[{"status": "failed"}], status="failed")
        await step(harness)
        woken = await due(harness)
        assert ended in woken
        assert len(woken) < MANY / 2

    async def test_few_jobs_look_by_themselves_and_the_change_is_noticed(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        assert (await step(harness)).listing
        await end(harness, job_ids[3:])
        assert not (await step(harness)).listing
        assert await seconds_until_due(harness, job_ids[0]) < 10
        await harness.step(job_ids[0])
        assert await seconds_until_due(harness, job_ids[0]) <= harness.ctx.settings.poll_seconds

    async def test_a_poll_in_progress_while_the_list_ends_leaves_nothing_to_it(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        await step(harness)
        claimed = await harness.claim(job_ids[0])
        assert claimed is not None
        await end(harness, job_ids[1:])
        assert not (await step(harness)).listing
        async with harness.ctx.db.worker() as session:
            await leases.give_back(session, claimed, {}, due_in_seconds=poll_schedule.SAFETY_SECONDS)
        assert await seconds_until_due(harness, job_ids[0]) < 10

    async def test_nor_does_one_that_read_of_the_list_just_before_its_end(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        await step(harness)
        await end(harness, job_ids)
        assert (await step(harness)).due_at is not None, "it rests, and nobody tells a late job that there is no list"
        [late] = await running(harness, 1)
        await step(harness)
        assert await seconds_until_due(harness, late) < 10
        await end(harness, [late])
        assert (await step(harness)).due_at is None

    async def test_a_list_tells_of_few_jobs_too_while_one_of_them_rests(self, harness: WorkerHarness) -> None:
        young, old = await running(harness, 2)
        await step(harness)
        assert not harness.upstream.seen(LIST)
        long_ago = func.now() - dt.timedelta(hours=5)
        await harness.set_job(old, admitted_at=long_ago, started_at=long_ago)
        harness.upstream.put_job(id=await upstream_id(harness, old), status="paused", _steps=[{"status": "paused"}])
        assert not (await step(harness)).listing
        assert len(harness.upstream.seen(LIST)) == 1
        assert await due(harness) == {old}
        assert young != old

    async def test_without_running_jobs_the_watch_rests(self, harness: WorkerHarness) -> None:
        assert (await step(harness)).due_at is None
