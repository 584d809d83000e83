"""The queue over real rows: whose job gets a slot, when, and that no slot is given twice."""

import asyncio
import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ColumnElement, func, select, update

from service.database import leases
from service.database.leases import Claim
from service.database.tables import File, Job, Project, SchedulingPass, UpstreamAccount
from service.errors import QuotaExceeded
from service.ids import new_id
from service.jobs.forecast import Forecast
from service.jobs.lifecycle import JobError
from service.jobs.queue import predict
from service.jobs.record import apply_transition
from service.jobs.summary import QueueObject
from service.jobs.waiting import read_queue
from service.limits.scheduling_pass import request_scheduling_pass
from service.settings import Settings
from service.states import ACTIVE
from service.upstreams.accounts import DEFAULT_ACCOUNT
from tests.faults.control import FaultyUpstream
from tests.workers.harness import MODEL, WorkerHarness, ended, open_harness, working
from tests.workers.process import WorkerProcess
from workers.jobs import schedule
from workers.jobs.end_unbilled import fail_unbilled
from workers.jobs.schedule import run_scheduling_pass
from workers.jobs.validate import validate

SLOTS = 4


async def slots(harness: WorkerHarness, count: int) -> None:
    """How many jobs the account may run."""
    async with harness.ctx.db.admin() as session:
        await session.execute(update(UpstreamAccount).values(max_active_jobs=count))


async def other_project(harness: WorkerHarness, name: str) -> str:
    """One more project, whose id begins with its name."""
    project_id = f"{name}-{new_id('proj_')}"
    async with harness.ctx.db.admin() as session:
        session.add(Project(id=project_id, name=name))
    return project_id


async def waiting(harness: WorkerHarness, project_id: str, count: int, **values: Any) -> list[str]:
    """Jobs of a project that wait for a slot, each a second younger than the one before."""
    file_id = new_id("file-")
    now = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    ids = [new_id("ftjob-") for _ in range(count)]
    async with harness.ctx.db.worker() as session:
        session.add(
            File(
                id=file_id,
                project_id=project_id,
                filename="data.jsonl",
                purpose="fine-tune",
                size_bytes=1,
                sha256="0" * 64,
                storage_key=file_id,
                status="processed",
            )
        )
        await session.flush()
        session.add_all(
            Job(
                id=job_id,
                project_id=project_id,
                state="waiting",
                model=MODEL,
                training_file_id=file_id,
                seed=1,
                method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": "auto"}}},
                created_at=now + dt.timedelta(seconds=number),
                **values,
            )
            for number, job_id in enumerate(ids)
        )
    return ids


async def admitted(harness: WorkerHarness) -> Sequence[Job]:
    """The jobs that have a slot, in the order in which they got it."""
    async with harness.ctx.db.worker() as session:
        query = select(Job).where(Job.state.in_(ACTIVE)).order_by(Job.admitted_at)
        return (await session.scalars(query.execution_options(populate_existing=True))).all()


async def end(harness: WorkerHarness, job_id: str) -> None:
    """End a job that has a slot."""
    claimed = await harness.claim(job_id)
    assert claimed is not None
    async with harness.ctx.db.worker() as session:
        await fail_unbilled(session, claimed, JobError("upstream_failed", "It failed."))


async def turn_is_due(harness: WorkerHarness) -> bool:
    """Whether somebody has asked for a turn."""
    async with harness.ctx.db.worker() as session:
        return bool(await session.scalar(select(SchedulingPass.due_at <= func.now())))


async def no_turn(harness: WorkerHarness) -> None:
    """Withdraw the request for a scheduling pass."""
    async with harness.ctx.db.worker() as session:
        await session.execute(update(SchedulingPass).values(due_at=None))


def whose(jobs: Sequence[Job]) -> str:
    """The first letter of each job's project."""
    return "".join(job.project_id[0] for job in jobs)


class TestFairness:
    async def test_a_flood_yields_to_a_small_project_at_once(self, harness: WorkerHarness) -> None:
        flood, small = await other_project(harness, "A"), await other_project(harness, "B")
        await slots(harness, SLOTS)
        await waiting(harness, flood, 500)
        await harness.run_scheduling_pass()
        first = await admitted(harness)
        assert whose(first) == "AAAA"
        assert [job.id for job in first] == sorted(job.id for job in first), "the oldest first"
        await waiting(harness, small, 5)
        for job in first[:3]:
            await end(harness, job.id)
            await harness.run_scheduling_pass()
        assert whose(await admitted(harness)) == "ABBA"

    async def test_priority_within_a_project_and_turns_between_projects(self, harness: WorkerHarness) -> None:
        one, two = await other_project(harness, "A"), await other_project(harness, "B")
        await slots(harness, SLOTS)
        low = await waiting(harness, one, 2, priority=-1)
        high = await waiting(harness, one, 2, priority=7)
        theirs = await waiting(harness, two, 1, priority=-100)
        await harness.run_scheduling_pass()
        assert [job.id for job in await admitted(harness)] == [high[0], theirs[0], high[1], low[0]]

    async def test_a_project_s_own_limit(self, harness: WorkerHarness) -> None:
        one, two = await other_project(harness, "A"), await other_project(harness, "B")
        await slots(harness, 10)
        async with harness.ctx.db.admin() as session:
            await session.execute(update(Project).where(Project.id == one).values(max_active_jobs=2))
            await session.execute(update(Project).where(Project.id == two).values(max_active_jobs=None))
        await waiting(harness, one, 9)
        await waiting(harness, two, 9)
        await harness.run_scheduling_pass()
        assert Counter(whose(await admitted(harness))) == {"A": 2, "B": 8}

    async def test_many_are_admitted_over_several_turns(self, harness: WorkerHarness) -> None:
        await slots(harness, 120)
        await waiting(harness, await other_project(harness, "A"), 130)
        async with harness.ctx.db.admin() as session:
            await session.execute(update(Project).values(max_active_jobs=None))
        await harness.run_scheduling_pass()
        assert len(await admitted(harness)) == schedule.MAX_ADMISSIONS
        assert await turn_is_due(harness), "the next turn follows by itself"
        await harness.run_scheduling_pass()
        await harness.run_scheduling_pass()
        assert len(await admitted(harness)) == 120

    async def test_the_order_is_the_one_that_was_foretold(self, harness: WorkerHarness) -> None:
        await slots(harness, 2)
        for name, count in (("A", 9), ("B", 3), ("C", 5)):
            await waiting(harness, await other_project(harness, name), count, priority=count)
        async with harness.ctx.db.worker() as session:
            seen = await read_queue(session, catalogue=harness.ctx.catalogue, today=harness.ctx.today(), heads=None)
        foretold = list(predict(seen.snapshot, lambda *_: 60.0, max_places=99))
        lived: list[str] = []
        while True:
            await harness.run_scheduling_pass()
            running = await admitted(harness)
            lived += [job.id for job in running if job.id not in lived]
            if not running:
                break
            await end(harness, running[0].id)
        assert lived == foretold
        assert len(lived) == 17


class TestTheTimeline:
    """What `GET /fine_tuning/jobs/{id}/timeline` says of a job's place."""

    async def reported(self, harness: WorkerHarness, job_id: str) -> QueueObject:
        standing = await Forecast(harness.ctx.db, harness.ctx.catalogue).of(await harness.job(job_id))
        assert standing is not None
        return standing

    async def test_a_full_account(self, harness: WorkerHarness) -> None:
        one, two = await other_project(harness, "A"), await other_project(harness, "B")
        await slots(harness, 1)
        mine = await waiting(harness, one, 3)
        await harness.run_scheduling_pass()
        [theirs] = await waiting(harness, two, 1)
        second = await self.reported(harness, mine[1])
        assert (second.reason, second.place, second.place_in_project) == ("account_full", 2, 1)
        assert (await self.reported(harness, theirs)).place == 1
        assert (await self.reported(harness, mine[2])).place == 3
        assert second.estimated_start is None
        assert "No job has finished" in second.estimate_reason
        assert await Forecast(harness.ctx.db, harness.ctx.catalogue).of(await harness.job(mine[0])) is None

    async def test_a_page_is_answered_from_one_reading(self, harness: WorkerHarness) -> None:
        project = await other_project(harness, "A")
        await slots(harness, 1)
        admitted, *queued = await waiting(harness, project, 6)
        at_upstream: dict[str, Any] = {"state": "running", "create_phase": "created", "account_id": DEFAULT_ACCOUNT}
        reports: tuple[dict[str, Any], ...] = (
            {"upstream_status": "queued", "upstream_queue_place": 2},
            {"upstream_status": "validating_files"},
            {"upstream_status": "paused", "pause_requested": True},
            {"upstream_status": "running"},
        )
        for job_id, values in zip([admitted, *queued[:3]], reports, strict=True):
            await harness.set_job(job_id, **at_upstream, upstream_job_id=f"up-{job_id}", **values)
        await harness.set_job(queued[3], cancel_requested_at=func.now())
        jobs = [await harness.job(job_id) for job_id in (admitted, *queued)]
        found = await Forecast(harness.ctx.db, harness.ctx.catalogue).of_all(jobs)
        reported = [found[job.id] for job in jobs]
        shown = [None if each is None else (each.reason, each.place) for each in reported]
        assert shown == [
            ("upstream_queue", 2), ("upstream_queue", None), ("paused", None), None, None, ("account_full", 1)
        ]  # fmt: skip

    async def test_a_start_is_estimated_from_jobs_that_have_finished(self, harness: WorkerHarness) -> None:
        project = await other_project(harness, "A")
        await slots(harness, 1)
        ids = await waiting(harness, project, 3)
        await harness.run_scheduling_pass()
        now = dt.datetime.now(dt.UTC)
        (account,) = {job.account_id for job in await admitted(harness)}
        await harness.set_job(ids[0], admitted_at=now)
        done = await waiting(harness, project, 1)
        await harness.set_job(
            done[0],
            state="succeeded",
            fine_tuned_model="x",
            account_id=account,
            admitted_at=now - dt.timedelta(seconds=700),
            finished_at=now - dt.timedelta(seconds=100),
        )
        first, second = await self.reported(harness, ids[1]), await self.reported(harness, ids[2])
        assert abs((first.estimated_start or 0) - now.timestamp() - 600) < 5
        assert abs((second.estimated_start or 0) - now.timestamp() - 1200) < 5
        assert "took 600 s" in first.estimate_reason

    async def test_other_reasons(self, harness: WorkerHarness) -> None:
        project = await other_project(harness, "A")
        [job_id] = await waiting(harness, project, 1)
        assert (await self.reported(harness, job_id)).reason == "next"
        await harness.set_job(job_id, pause_requested=True)
        assert (await self.reported(harness, job_id)).reason == "paused"
        await harness.set_job(job_id, pause_requested=False)
        async with harness.ctx.db.admin() as session:
            await session.execute(update(Project).where(Project.id == project).values(max_active_jobs=0))
        limited = await self.reported(harness, job_id)
        assert (limited.reason, limited.place) == ("project_limit", None)
        async with harness.ctx.db.admin() as session:
            until = func.now() + dt.timedelta(minutes=5)
            await session.execute(update(UpstreamAccount).values(cool_down_until=until, cool_down_reason="no quota"))
        held = await self.reported(harness, job_id)
        assert (held.reason, held.place) == ("account_held", None)
        assert "no quota" in held.message
        checked = await harness.new_job()
        assert (await self.reported(harness, checked)).reason == "file_check"


class TestWhoAsks:
    """Whatever may admit a job requests a scheduling pass in its own transaction."""

    async def test_a_job_that_begins_to_wait(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        await no_turn(harness)
        assert (await harness.step(job_id)).state == "waiting"
        assert (await harness.job(job_id)).due_at is None, "it has no time of its own"
        assert await turn_is_due(harness)

    @pytest.mark.parametrize("how", ["failed", "cancelled", "succeeded"])
    async def test_a_slot_that_gets_free(self, harness: WorkerHarness, how: str) -> None:
        await slots(harness, 1)
        first = await harness.new_job()
        await harness.until(first, "uploading")
        second = await harness.new_job()
        assert (await harness.steps(second, 2)).state == "waiting"
        await no_turn(harness)
        match how:
            case "failed":
                await end(harness, first)
            case "cancelled":
                await harness.request_cancel(first)
                await harness.step(first)
            case _:
                harness.upstream.steps("succeeded")
                await harness.until_end(first)
        assert (await harness.job(first)).state == how
        assert await turn_is_due(harness)
        await harness.run_scheduling_pass()
        assert (await harness.job(second)).state == "uploading"

    async def test_a_job_that_is_resumed(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        await harness.step(job_id)
        await harness.request_pause(job_id, pause=True)
        await harness.run_scheduling_pass()
        assert (await harness.steps(job_id, 3)).state == "waiting"
        assert (await harness.job(job_id)).waiting_reason == "Paused by the caller."
        await harness.request_pause(job_id, pause=False)
        await harness.step(job_id)
        await harness.run_scheduling_pass()
        assert (await harness.job(job_id)).state == "uploading"

    async def test_a_waiting_job_is_cancelled_at_once(self, harness: WorkerHarness) -> None:
        await slots(harness, 1)
        first, second = await harness.new_job(), await harness.new_job()
        await harness.until(first, "uploading")
        assert (await harness.step(second)).state == "waiting"
        await harness.request_cancel(second)
        await harness.run_scheduling_pass()
        assert (await harness.step(second)).state == "cancelled"
        assert await harness.entries(second) == ["reserve", "void"]

    async def test_a_cancel_that_comes_while_the_job_is_judged_is_not_lost(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        held = await harness.claim(job_id)
        assert held is not None
        await harness.request_cancel(job_id)
        await validate(harness.ctx, held)
        job = await harness.job(job_id)
        assert (job.state, job.due_at is not None) == ("waiting", True)
        assert (await harness.step(job_id)).state == "cancelled"

    async def test_a_hold_that_ends(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        await harness.step(job_id)
        async with harness.ctx.db.admin() as session:
            await session.execute(
                update(UpstreamAccount).values(
                    cool_down_until=func.now() + dt.timedelta(seconds=90), cool_down_reason="x"
                )
            )
        await harness.run_scheduling_pass()
        assert (await harness.job(job_id)).state == "waiting"
        async with harness.ctx.db.worker() as session:
            seconds = await session.scalar(select(func.extract("epoch", SchedulingPass.due_at - func.now())))
        assert 0 < float(seconds or 0) <= 90


class TestFaults:
    async def test_one_job_that_cannot_be_moved_does_not_keep_the_others_waiting(
        self, harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = await waiting(harness, await other_project(harness, "A"), 3)
        real = apply_transition

        async def broken(session: Any, claimed: Any, step: Any) -> None:
            if claimed.row.id == ids[0]:
                raise RuntimeError("It breaks.")
            await real(session, claimed, step)

        monkeypatch.setattr(schedule, "apply_transition", broken)
        await harness.run_scheduling_pass()
        assert [job.id for job in await admitted(harness)] == ids[1:]

    async def test_a_turn_that_breaks_is_taken_again(
        self, harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await waiting(harness, await other_project(harness, "A"), 1)

        async def broken(*_: object, **__: object) -> None:
            raise RuntimeError("It breaks.")

        with monkeypatch.context() as patched:
            patched.setattr(schedule, "read_queue", broken)
            await harness.run_scheduling_pass()
        async with harness.ctx.db.worker() as session:
            row = await session.get_one(SchedulingPass, "jobs")
            assert (row.failures, row.leased_until) == (1, None)
            assert row.due_at is not None
        await harness.run_scheduling_pass()
        assert len(await admitted(harness)) == 1

    async def test_a_worker_killed_in_its_turn_has_admitted_nobody_and_another_takes_it(
        self, long_lease_settings: Settings, upstream: FaultyUpstream, tmp_path: Path
    ) -> None:
        async with open_harness(long_lease_settings, upstream) as harness:
            await slots(harness, 1)
            job_id, other = await harness.new_job(), await harness.new_job()
            async with WorkerProcess(long_lease_settings, tmp_path, fault_point="schedule.admitted") as first:
                await first.killed()
            assert await admitted(harness) == []
            await harness.end_leases()
            async with working(harness):
                await eventually_ended(harness, job_id, other)


class TestRaces:
    """Two turns at once, as a worker that was paused past its lease and its successor would make them."""

    async def test_the_limit_holds(self, harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
        assert await two_locks(harness, monkeypatch, locked=True) == SLOTS

    async def test_control_without_the_lock_it_does_not(
        self, harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert await two_locks(harness, monkeypatch, locked=False) > SLOTS

    async def test_a_turn_that_was_taken_over_admits_nobody(self, harness: WorkerHarness) -> None:
        await waiting(harness, await other_project(harness, "A"), 3)
        [stale] = await claim_turn(harness)
        async with harness.ctx.db.worker() as session:
            await session.execute(update(SchedulingPass).values(leased_until=func.now() - dt.timedelta(seconds=1)))
        assert await claim_turn(harness)
        with pytest.raises(leases.LeaseLost):
            await run_scheduling_pass(harness.ctx, stale)
        assert await admitted(harness) == []


class TestTheQueueOfAProject:
    async def test_creates_beyond_the_limit_are_refused_however_many_race(self, harness: WorkerHarness) -> None:
        async with harness.ctx.db.admin() as session:
            await session.execute(update(Project).where(Project.id == harness.project_id).values(max_queued_jobs=3))
        same = await harness.new_file()
        made = await asyncio.gather(*(harness.new_job(training=same) for _ in range(10)), return_exceptions=True)
        refused = [each for each in made if isinstance(each, QuotaExceeded)]
        assert (len(made) - len(refused), len(refused)) == (3, 7)
        assert {each.code for each in refused} == {"too_many_queued_jobs"}
        assert refused[0].should_retry is False

    async def test_null_is_no_limit(self, harness: WorkerHarness) -> None:
        async with harness.ctx.db.admin() as session:
            await session.execute(update(Project).values(max_queued_jobs=None))
        assert await harness.new_job()


async def claim_turn(harness: WorkerHarness) -> list[Claim[SchedulingPass]]:
    """Take the turn, as a worker that was asked for it."""
    async with harness.ctx.db.worker() as session:
        await request_scheduling_pass(session)
    async with harness.ctx.db.worker() as session:
        return await leases.claim(session, SchedulingPass, lease_seconds=30.0)


async def two_locks(harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch, *, locked: bool) -> int:
    """How many jobs two turns admit that both believe to hold the lease, where the second looks before the first wrote.

    What comes to wait between their looks makes them choose differently, so that only the lock keeps them to the slots.
    """
    await slots(harness, SLOTS)
    project = await other_project(harness, "A")
    await waiting(harness, project, 10)
    [first] = await claim_turn(harness)
    second = dataclasses.replace(first)
    first_checked, second_checked = asyncio.Event(), asyncio.Event()
    real = read_queue

    async def in_order(*args: Any, **options: Any) -> Any:
        if not first_checked.is_set():
            seen = await real(*args, **options)
            first_checked.set()
            try:
                async with asyncio.timeout(0.5 if locked else 90):
                    await second_checked.wait()
            except TimeoutError:
                assert locked, "the control must let both look"
            return seen
        seen = await real(*args, **options)
        second_checked.set()
        return seen

    def unfenced(self: Claim[Any]) -> ColumnElement[bool]:
        mine: ColumnElement[bool] = self.table.id == self.row.id
        return mine

    async def unlocked(*_: object) -> None:
        return None

    with monkeypatch.context() as patched:
        patched.setattr(schedule, "read_queue", in_order)
        patched.setattr(Claim, "held", unfenced)
        if not locked:
            patched.setattr(schedule, "lock_accounts", unlocked)
        one = asyncio.create_task(run_scheduling_pass(harness.ctx, first))
        await first_checked.wait()
        await waiting(harness, project, 10, priority=9)
        await asyncio.gather(one, run_scheduling_pass(harness.ctx, second))
    return len(await admitted(harness))


async def eventually_ended(harness: WorkerHarness, *job_ids: str) -> None:
    """Wait until the jobs have ended well."""
    await ended(harness, *job_ids)
    for job_id in job_ids:
        assert (await harness.job(job_id)).state == "succeeded"
