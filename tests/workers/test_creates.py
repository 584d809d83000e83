"""Exactly one upstream job per job, line by line of the protocol, against an upstream that errs on command."""

import asyncio
import datetime as dt
from typing import Any

import pytest

from service.jobs.forecast import Forecast
from service.upstreams.labels import labels
from tests.faults.control import CREATE, LIST, NEVER, NO_JOBS, FaultyUpstream, error
from tests.workers.harness import WorkerHarness, eventually
from workers.maintenance import orphaned_upstream_jobs

HTML = {"status": 502, "body": "<html>Bad gateway</html>"}
LOST_ANSWERS: dict[str, Any] = {
    "reset": "reset",
    "cut": "cut",
    "500": error(500),
    "502-html": HTML,
    "408": error(408),
    "409": error(409),
    "302": {"status": 302, "headers": {"location": "/elsewhere"}},
    "404-html": {"status": 404, "body": "<html>Not found</html>"},
    "429-html": {"status": 429, "body": "<html>Slow down</html>"},
    "200-html": {"status": 200, "body": "<html>Welcome</html>"},
    "200-without-id": {"status": 200, "body": {"object": "fine_tuning.job"}},
    "200-with-a-number-as-id": {"status": 200, "body": {"id": 7}},
}


class TestAnAnswerIsLost:
    @pytest.mark.parametrize("answer", LOST_ANSWERS.values(), ids=LOST_ANSWERS)
    async def test_the_job_that_was_made_is_adopted(self, harness: WorkerHarness, answer: Any) -> None:
        harness.upstream.fault(CREATE, answer, made=True)
        job_id = await harness.new_job()
        assert (await harness.until_sent(job_id)).create_phase == "intent"
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)
        assert len(harness.upstream.creates()) == 1

    async def test_so_is_one_whose_answer_hangs(self, impatient_harness: WorkerHarness) -> None:
        impatient_harness.upstream.fault(CREATE, "hang", made=True)
        job_id = await impatient_harness.new_job()
        await impatient_harness.until_end(job_id)
        await impatient_harness.assert_succeeded_once(job_id)
        assert len(impatient_harness.upstream.creates()) == 1

    @pytest.mark.parametrize("answer", ["reset", error(500), HTML], ids=["reset", "500", "502-html"])
    async def test_one_that_was_not_made_is_sent_again_only_when_it_must_be_so(
        self, harness: WorkerHarness, answer: Any
    ) -> None:
        harness.upstream.fault(CREATE, answer)
        job_id = await harness.new_job()
        await harness.until_sent(job_id)
        job = await harness.steps(job_id, 5)
        assert (job.state, job.create_phase) == ("creating", "intent"), "three empty lists are not enough"
        await harness.pass_settle_time(job_id)
        job = await harness.step(job_id)
        assert (job.create_phase, len(harness.upstream.creates())) == ("idle", 1)
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)
        assert [create["body"]["metadata"]["tunegate_attempt"] for create in harness.upstream.creates()] == ["1", "2"]

    async def test_the_settle_time_alone_is_not_enough_either(self, harness: WorkerHarness) -> None:
        harness.upstream.fault(CREATE, "reset")
        job_id = await harness.new_job()
        await harness.until_sent(job_id)
        await harness.pass_settle_time(job_id)
        job = await harness.steps(job_id, 2)
        assert (job.create_phase, job.create_empty_lists) == ("intent", 2)
        assert (await harness.step(job_id)).create_phase == "idle"

    async def test_the_settle_time_begins_at_the_end_of_the_lease(self, harness: WorkerHarness) -> None:
        harness.upstream.fault(CREATE, "reset")
        job_id = await harness.new_job()
        await harness.until(job_id, "creating")
        before = dt.datetime.now(dt.UTC)
        job = await harness.step(job_id)
        settings = harness.ctx.settings
        wait = dt.timedelta(seconds=settings.lease_seconds + settings.settle_seconds)
        assert job.create_settled_at is not None
        assert job.create_settled_at >= before + wait

    async def test_a_job_that_the_lists_show_late_is_adopted(self, harness: WorkerHarness) -> None:
        harness.upstream.fault(CREATE, "reset", made=True)
        harness.upstream.fault(LIST, NO_JOBS, times=4)
        job_id = await harness.new_job()
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)
        assert len(harness.upstream.creates()) == 1

    @pytest.mark.parametrize(
        "answer",
        [error(500), {"status": 200, "body": {}}, {"status": 200, "body": {"data": None}}, "cut"],
        ids=["500", "no-list", "null-list", "cut"],
    )
    async def test_a_list_that_is_none_does_not_count_as_empty(self, harness: WorkerHarness, answer: Any) -> None:
        harness.upstream.fault(CREATE, "reset", made=True)
        harness.upstream.fault(LIST, answer, times=5)
        job_id = await harness.new_job()
        await harness.until_sent(job_id)
        await harness.pass_settle_time(job_id)
        job = await harness.steps(job_id, 5)
        assert (job.create_phase, job.create_empty_lists) == ("intent", 0)
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)

    async def test_an_upstream_that_accepts_after_the_settle_time_makes_an_orphan_that_is_cancelled(
        self, impatient_harness: WorkerHarness
    ) -> None:
        """The documented residual: nobody can know of it before, but nobody pays for it for long either."""
        impatient_harness.upstream.fault(CREATE, None, late=NEVER)
        impatient_harness.upstream.steps("running")
        job_id = await impatient_harness.new_job()
        await impatient_harness.until_sent(job_id)
        await impatient_harness.pass_settle_time(job_id)
        await impatient_harness.until(job_id, "running")
        impatient_harness.upstream.release()
        await eventually(lambda: len(impatient_harness.upstream.jobs(job_id)) == 2)
        await orphaned_upstream_jobs.cancel_orphaned_jobs(impatient_harness.ctx)
        job = await impatient_harness.job(job_id)
        assert [each["id"] for each in impatient_harness.upstream.unended()] == [job.upstream_job_id]


class TestARefusal:
    @pytest.mark.parametrize("status", [400, 404, 422])
    async def test_of_the_job_ends_it_and_gives_the_money_back(self, harness: WorkerHarness, status: int) -> None:
        harness.upstream.fault(CREATE, error(status, code="bad_order"))
        job_id = await harness.new_job()
        job = await harness.until_end(job_id)
        assert (job.state, job.error_code, job.cost_micros) == ("failed", "bad_order", 0)
        await harness.assert_ended_once(job_id, entries=["reserve", "void"])
        assert (len(harness.upstream.creates()), harness.upstream.jobs()) == (1, [])

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (error(401, code="invalid_api_key"), "credential"),
            (error(403), "credential"),
            (error(429, code="insufficient_quota"), "quota"),
        ],
        ids=["401", "403", "quota"],
    )
    async def test_of_us_holds_the_account_and_burns_no_job(
        self, harness: WorkerHarness, answer: Any, reason: str
    ) -> None:
        harness.upstream.fault(CREATE, answer)
        job_id, other = await harness.new_job(), await harness.new_job()
        job = await harness.until_sent(job_id)
        account = await harness.account()
        assert (job.state, job.create_phase) == ("creating", "idle")
        assert reason in (job.waiting_reason or "")
        assert reason in (account.cool_down_reason or "")
        assert (await harness.steps(other, 3)).state == "waiting"
        reported = await Forecast(harness.ctx.db, harness.ctx.catalogue).of(await harness.job(other))
        assert reported is not None
        assert "cools down" in reported.message
        await harness.end_cool_down()
        for each in (job_id, other):
            await harness.until_end(each)
        assert len(harness.upstream.alive(job_id)) == len(harness.upstream.alive(other)) == 1

    async def test_by_a_rate_limit_waits_as_long_as_it_says_and_holds_nobody(self, harness: WorkerHarness) -> None:
        harness.upstream.fault(CREATE, error(429, code="rate_limit_exceeded", headers={"retry-after": "7"}), times=30)
        job_id = await harness.new_job()
        before = dt.datetime.now(dt.UTC)
        job = await harness.until_sent(job_id)
        assert job.due_at is not None
        assert dt.timedelta(seconds=6) < job.due_at - before < dt.timedelta(seconds=60)
        assert (await harness.account()).cool_down_until is None
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)
        assert len(harness.upstream.creates()) == 31

    async def test_to_connect_made_nothing_and_is_tried_again(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        await harness.until(job_id, "creating")
        harness.upstream.listen(on=False)
        job = await harness.steps(job_id, 3)
        assert (job.state, job.create_phase) == ("creating", "idle")
        assert "cannot be reached" in (job.waiting_reason or "")
        harness.upstream.listen(on=True)
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)


class TestAdoption:
    async def test_takes_the_first_and_only_then_are_the_others_cancelled(self, harness: WorkerHarness) -> None:
        harness.upstream.fault(CREATE, "reset")
        harness.upstream.steps("running")
        job_id = await harness.new_job()
        await harness.until_sent(job_id)
        made = [
            harness.upstream.put_job(created_at=at, metadata=labels(harness.ctx.instance, job_id, attempt))["id"]
            for at, attempt in ((500, 2), (400, 10), (400, 9), (400, 9))
        ]
        job = await harness.until(job_id, "running")
        assert job.upstream_job_id == made[2], "the oldest; of equals the first attempt; of equals the first id"
        assert len(harness.upstream.unended()) == 4, "nothing is cancelled before the adoption is on record"
        await orphaned_upstream_jobs.cancel_orphaned_jobs(harness.ctx)
        assert [each["id"] for each in harness.upstream.unended()] == [made[2]]
        calls = {call.upstream_job_id: call.cancelled_as_orphan_at is not None for call in await harness.calls(job_id)}
        assert calls == {each: each != made[2] for each in made}

    async def test_prefers_one_that_has_not_ended_badly(self, harness: WorkerHarness) -> None:
        harness.upstream.fault(CREATE, "reset")
        job_id = await harness.new_job()
        await harness.until_sent(job_id)
        marked = labels(harness.ctx.instance, job_id, 1)
        harness.upstream.put_job(created_at=100, metadata=marked, status="cancelled")
        alive = harness.upstream.put_job(created_at=200, metadata=marked, status="running")
        assert (await harness.until(job_id, "running")).upstream_job_id == alive["id"]

    @pytest.mark.parametrize("ignores_metadata", [False, True], ids=["filtering", "ignoring the filter"])
    async def test_reads_every_page_and_believes_its_own_eyes(
        self, harness: WorkerHarness, ignores_metadata: bool
    ) -> None:
        harness.upstream.fault(CREATE, "reset", made=True)
        harness.upstream.configure(page_size=2, ignores_metadata=ignores_metadata)
        job_id = await harness.new_job()
        await harness.until_sent(job_id)
        foreign = [
            labels("another gateway", job_id, 1),
            labels(harness.ctx.instance, "ftjob-another", 1),
            {"tunegate_job": job_id},
            None,
        ]
        for metadata in foreign * 2:
            harness.upstream.put_job(metadata=metadata, created_at=2**33)
        job = await harness.until(job_id, "running")
        assert [job.upstream_job_id] == [
            each["id"] for each in harness.upstream.jobs(job_id) if each["created_at"] < 2**33
        ]


class TestACancel:
    async def test_before_it_is_sent_creates_nothing(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        await harness.until(job_id, "creating")
        await harness.request_cancel(job_id)
        assert (await harness.step(job_id)).state == "cancelled"
        await harness.assert_ended_once(job_id, entries=["reserve", "void"])
        assert harness.upstream.creates() == []

    async def test_while_it_is_being_sent_is_passed_on(self, harness: WorkerHarness) -> None:
        harness.upstream.fault(CREATE, None, late=NEVER)
        harness.upstream.steps("running")
        job_id = await harness.new_job()
        await harness.until(job_id, "creating")
        sending = asyncio.create_task(harness.step(job_id))
        await eventually(harness.upstream.creates)
        await harness.request_cancel(job_id)
        harness.upstream.release()
        await sending
        assert (await harness.until_end(job_id)).state == "cancelled"
        assert harness.upstream.unended() == []
        await harness.assert_ended_once(job_id, entries=["reserve", "void"])

    async def test_after_a_lost_answer_cancels_what_was_made(self, harness: WorkerHarness) -> None:
        harness.upstream.fault(CREATE, "reset", made=True)
        job_id = await harness.new_job()
        await harness.until_sent(job_id)
        await harness.request_cancel(job_id)
        job = await harness.until_end(job_id)
        assert (job.state, harness.upstream.jobs()[0]["status"]) == ("cancelled", "cancelled")
        assert (len(harness.upstream.creates()), harness.upstream.unended()) == (1, [])

    async def test_after_a_create_that_made_nothing_never_creates(self, harness: WorkerHarness) -> None:
        harness.upstream.fault(CREATE, "reset")
        job_id = await harness.new_job()
        await harness.until_sent(job_id)
        await harness.request_cancel(job_id)
        assert (await harness.steps(job_id, 4)).state == "creating", "it may still turn up"
        await harness.pass_settle_time(job_id)
        assert (await harness.until_end(job_id)).state == "cancelled"
        assert (len(harness.upstream.creates()), harness.upstream.jobs()) == (1, [])

    async def test_is_kept_when_the_upstream_makes_the_job_afterwards(self, impatient_harness: WorkerHarness) -> None:
        impatient_harness.upstream.fault(CREATE, None, late=NEVER)
        impatient_harness.upstream.steps("running")
        job_id = await impatient_harness.new_job()
        await impatient_harness.until_sent(job_id)
        await impatient_harness.request_cancel(job_id)
        await impatient_harness.pass_settle_time(job_id)
        assert (await impatient_harness.until_end(job_id)).state == "cancelled"
        impatient_harness.upstream.release()
        await eventually(impatient_harness.upstream.jobs)
        assert await orphaned_upstream_jobs.cancel_orphaned_jobs(impatient_harness.ctx) == 1
        assert impatient_harness.upstream.unended() == []


async def test_the_request_carries_exactly_our_three_marks(harness: WorkerHarness, upstream: FaultyUpstream) -> None:
    job_id = await harness.new_job()
    await harness.until_sent(job_id)
    [create] = upstream.creates()
    labels = {"tunegate_gateway": harness.ctx.instance, "tunegate_job": job_id, "tunegate_attempt": "1"}
    assert create["body"]["metadata"] == labels
    assert create["body"]["method"]["supervised"]["hyperparameters"]["n_epochs"] > 0
