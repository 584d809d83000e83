"""Several accounts under the workers: who takes which job, and that one that is broken stops no other."""

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import func, select, update

from service.database.encryption import sealer_of
from service.database.tables import Model, UpstreamAccount
from service.errors import InvalidRequest
from service.fair_shares import share
from service.jobs.actions import PricingContext, create_job, request_pause
from service.jobs.schemas import CreateJob, Integration, Method, Wandb
from service.settings import Settings
from service.upstreams.accounts import DEFAULT_ACCOUNT, UNAVAILABLE_AFTER_CALLS, Accounts
from service.upstreams.adapters.azure import UPSTREAMS
from service.upstreams.credentials import seal_credential
from tests.faults.control import CREATE, LIST, RETRIEVE, UPLOAD, FaultyUpstream, error
from tests.upstreams.conftest import add_account
from tests.workers.harness import MODEL, WorkerHarness, ended, eventually, open_harness, working
from workers.bulkhead import PROBES, Bulkhead, Full, Steps
from workers.maintenance import orphaned_upstream_jobs


async def change(harness: WorkerHarness, account_id: str, **values: object) -> None:
    """Change an account's row as an update does."""
    async with harness.ctx.db.admin() as session:
        await session.execute(
            update(UpstreamAccount)
            .where(UpstreamAccount.id == account_id)
            .values(**values, version=UpstreamAccount.version + 1)
        )


async def create(harness: WorkerHarness, **fields: object) -> str:
    """A job as the API accepts it. Raises `InvalidRequest`."""
    body = CreateJob(model=MODEL, training_file=await harness.new_file(), **fields)  # type: ignore[arg-type]
    pricing_context = PricingContext(catalogue=harness.ctx.catalogue, today=harness.ctx.today())
    async with harness.ctx.db.project(harness.project_id) as session:
        return (await create_job(session, project_id=harness.project_id, body=body, pricing_context=pricing_context)).id


@pytest.fixture
async def unhurried(step_settings: Settings, upstream: FaultyUpstream) -> AsyncIterator[WorkerHarness]:
    """A harness whose calls time out after ninety seconds, so that they hang until the test has asserted on them."""
    settings = dataclasses.replace(step_settings, lease_seconds=150.0, upstream_timeout_seconds=90.0)
    async with open_harness(settings, upstream) as opened:
        yield opened


async def hanging_jobs(harness: WorkerHarness, second: FaultyUpstream) -> list[str]:
    """Running jobs at an account that has stopped to answer."""
    account_id = await add_account(harness, second.base_url)
    second.steps("running")
    hung = [
        await create(harness, upstream_account=account_id) for _ in range(harness.ctx.settings.worker_concurrency + 4)
    ]
    for job_id in hung:
        await harness.until(job_id, "running")
    second.fault(".*", "hang", times=0)
    return hung


def asked_for_jobs(second: FaultyUpstream) -> int:
    """How often somebody has asked for a job."""
    return sum(re.fullmatch(RETRIEVE, each["request"]) is not None for each in second.requests())


class TestWhoTakesAJob:
    async def test_the_account_that_serves_the_model(self, harness: WorkerHarness, second: FaultyUpstream) -> None:
        account_id = await add_account(harness, second.base_url, models=["gpt-4o-mini*"])
        await change(harness, DEFAULT_ACCOUNT, models=["gpt-4.1*"])
        job_id = await harness.new_job()
        job = await harness.until_end(job_id)
        assert (job.state, job.account_id) == ("succeeded", account_id)
        assert (len(second.creates()), harness.upstream.creates()) == (1, [])
        async with harness.ctx.db.worker() as session:
            models = (await session.scalars(select(Model).where(Model.job_id == job_id))).all()
        assert {model.account_id for model in models} == {account_id}

    async def test_the_project_s_own_comes_first_and_is_nobody_else_s(
        self, harness: WorkerHarness, other_project: WorkerHarness, second: FaultyUpstream
    ) -> None:
        account_id = await add_account(harness, second.base_url, own=True)
        mine = await harness.until(await harness.new_job(), "uploading")
        theirs = await other_project.until(await other_project.new_job(), "uploading")
        assert (mine.account_id, theirs.account_id) == (account_id, DEFAULT_ACCOUNT)
        with pytest.raises(InvalidRequest) as refused:
            await create(other_project, upstream_account=account_id)
        assert (refused.value.param, refused.value.code) == ("upstream_account", "upstream_not_found")

    async def test_the_one_that_its_caller_names(self, harness: WorkerHarness, second: FaultyUpstream) -> None:
        await add_account(harness, second.base_url, own=True)
        job = await harness.until(await create(harness, upstream_account=DEFAULT_ACCOUNT), "uploading")
        assert job.account_id == DEFAULT_ACCOUNT

    async def test_a_tuned_model_is_trained_on_only_where_it_is(
        self, harness: WorkerHarness, second: FaultyUpstream
    ) -> None:
        first = await harness.until_end(await harness.new_job())
        await add_account(harness, second.base_url, own=True)
        body = CreateJob(model=first.fine_tuned_model or "", training_file=await harness.new_file())
        pricing_context = PricingContext(catalogue=harness.ctx.catalogue, today=harness.ctx.today())
        async with harness.ctx.db.project(harness.project_id) as session:
            again = await create_job(session, project_id=harness.project_id, body=body, pricing_context=pricing_context)
        assert (await harness.until_end(again.id)).account_id == DEFAULT_ACCOUNT
        assert second.creates() == []

    async def test_a_drained_one_finishes_what_it_has_and_takes_no_more(
        self, harness: WorkerHarness, second: FaultyUpstream
    ) -> None:
        harness.upstream.steps("running", "running", "succeeded")
        running, later = await harness.new_job(), await harness.new_job()
        await harness.until(running, "running")
        await change(harness, DEFAULT_ACCOUNT, drained_at=func.now())
        assert (await harness.steps(later, 4)).state == "waiting"
        assert (await harness.until_end(running)).state == "succeeded"
        await change(harness, DEFAULT_ACCOUNT, drained_at=None)
        assert (await harness.until_end(later)).state == "succeeded"


class TestWhatCannotBeDone:
    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"suffix": "x" * 41}, "suffix"),
            ({"integrations": [Integration(type="wandb", wandb=Wandb(project="p"))]}, "integrations"),
            ({"method": Method(type="dpo")}, "method.type"),
        ],
        ids=["suffix", "integrations", "dpo"],
    )
    async def test_is_refused_before_the_spend(
        self, harness: WorkerHarness, azure: FaultyUpstream, fields: dict[str, object], param: str
    ) -> None:
        await add_account(harness, azure.base_url, kind="azure")
        await change(harness, DEFAULT_ACCOUNT, models=["nothing"])
        with pytest.raises(InvalidRequest) as refused:
            await create(harness, **fields)
        assert (refused.value.param, refused.value.code) == (param, "upstream_unsupported")

    async def test_goes_to_another_account_that_can(self, harness: WorkerHarness, azure: FaultyUpstream) -> None:
        await add_account(harness, azure.base_url, kind="azure", own=True)
        job = await harness.until(await create(harness, suffix="x" * 41), "uploading")
        assert job.account_id == DEFAULT_ACCOUNT

    async def test_a_pause_is_refused_where_there_is_none(self, harness: WorkerHarness, azure: FaultyUpstream) -> None:
        await add_account(harness, azure.base_url, kind="azure", own=True)
        job_id = await harness.new_job()
        await harness.until(job_id, "running")
        with pytest.raises(InvalidRequest) as refused:
            async with harness.ctx.db.project(harness.project_id) as session:
                await request_pause(session, harness.project_id, job_id, pause=True)
        assert refused.value.code == "upstream_unsupported"


class TestACoolDown:
    @pytest.mark.parametrize("match", [UPLOAD, CREATE, RETRIEVE], ids=["upload", "create", "retrieve"])
    async def test_is_of_the_account_that_refuses_us(
        self, harness: WorkerHarness, other_project: WorkerHarness, second: FaultyUpstream, match: str
    ) -> None:
        account_id = await add_account(harness, second.base_url, own=True)
        second.fault(match, error(401, code="invalid_api_key"), times=0)
        mine, theirs = await harness.new_job(), await other_project.new_job()
        await harness.steps(mine, 8)
        assert (await other_project.until_end(theirs)).state == "succeeded"
        job = await harness.job(mine)
        assert (job.account_id, job.finished_at) == (account_id, None), "the job burns not"
        async with harness.ctx.db.worker() as session:
            held, well = [await session.get_one(UpstreamAccount, each) for each in (account_id, DEFAULT_ACCOUNT)]
        assert (held.cool_down_until is not None, held.cool_down_reason) == (
            True,
            "the upstream refuses our credential",
        )
        assert well.cool_down_until is None
        second.configure(faults=[])
        await change(harness, account_id, cool_down_until=None)
        assert (await harness.until_end(mine)).state == "succeeded"


class TestAFileThatVanished:
    async def test_is_sent_anew(self, harness: WorkerHarness) -> None:
        same = await harness.new_file()
        await harness.until_end(await harness.new_job(training=same))
        harness.upstream.configure(files={})
        later = await harness.new_job(training=same)
        job = await harness.until_end(later)
        assert job.state == "succeeded", job.error_message
        assert (await harness.states(later)).count("uploading") == 2
        assert len(harness.upstream.alive(later)) == 1

    async def test_ends_its_job_if_it_never_stays(self, harness: WorkerHarness) -> None:
        harness.upstream.fault(CREATE, error(404, code="no_such_file"), times=0)
        harness.upstream.fault("GET /v1/files/[^/]+", error(404), times=0)
        job_id = await harness.new_job()
        job = await harness.until_end(job_id)
        assert (job.state, job.error_code) == ("failed", "no_such_file")
        assert await harness.entries(job_id) == ["reserve", "void"]
        assert (await harness.states(job_id)).count("uploading") == 3


class TestABrokenAccount:
    async def test_that_hangs_holds_no_other_up(self, unhurried: WorkerHarness, second: FaultyUpstream) -> None:
        """More jobs at an account that never answers than a worker has steps, and one healthy job beside them."""
        harness = unhurried
        hung = await hanging_jobs(harness, second)
        healthy = await create(harness, upstream_account=DEFAULT_ACCOUNT)
        async with working(harness):
            async with asyncio.timeout(harness.ctx.settings.upstream_timeout_seconds - 20):  # nothing hung has ended
                await ended(harness, healthy)
            assert (await harness.job(healthy)).state == "succeeded"
            assert {(await harness.job(each)).state for each in hung} == {"running"}
            second.reset()

    async def test_control_without_turns_it_does(
        self, unhurried: WorkerHarness, second: FaultyUpstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        harness = unhurried
        monkeypatch.setattr(Bulkhead, "_has_room", lambda bulkhead, steps: True)
        monkeypatch.setattr(Bulkhead, "full", lambda bulkhead: Full([], []))
        await hanging_jobs(harness, second)
        before = asked_for_jobs(second)
        async with working(harness):
            await eventually(
                lambda: asked_for_jobs(second) == before + share(harness.ctx.settings.worker_concurrency, 0)
            )
            healthy = await create(harness, upstream_account=DEFAULT_ACCOUNT)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await ended(harness, healthy)
            second.reset()

    async def test_that_cannot_be_listed_keeps_the_sweep_from_no_other(
        self, harness: WorkerHarness, second: FaultyUpstream
    ) -> None:
        await add_account(harness, "http://127.0.0.1:1/v1")
        harness.upstream.steps("running")
        job_id = await harness.new_job()
        await harness.until(job_id, "running")
        second.fault(LIST, error(500), times=0)
        await add_account(harness, second.base_url)
        harness.upstream.put_job(metadata={**harness.upstream.jobs(job_id)[0]["metadata"], "tunegate_attempt": "9"})
        assert await orphaned_upstream_jobs.cancel_orphaned_jobs(harness.ctx) == 1
        assert len(harness.upstream.unended()) == 1

    async def test_whose_credential_does_not_open_waits_and_loses_nothing(
        self, harness: WorkerHarness, second: FaultyUpstream
    ) -> None:
        account_id = await add_account(harness, second.base_url, own=True)
        job_id = await harness.new_job()
        await harness.until(job_id, "uploading")
        async with harness.ctx.db.worker() as session:
            sealed = (await session.get_one(UpstreamAccount, account_id)).credential_sealed
        await change(harness, account_id, credential_sealed=b"\x01" + bytes(60))
        await asyncio.sleep(1)
        job = await harness.step(job_id)
        assert (job.state, "master key" in (job.waiting_reason or "")) == ("uploading", True)
        await change(harness, account_id, credential_sealed=sealed)
        assert (await harness.until_end(job_id)).state == "succeeded"


class TestTheRegistry:
    async def test_a_change_is_in_use_within_a_second(self, harness: WorkerHarness, second: FaultyUpstream) -> None:
        account_id = await add_account(harness, "http://127.0.0.1:1/v1")
        before = await harness.ctx.accounts.get(account_id)
        assert await harness.ctx.accounts.get(account_id) is before
        await change(harness, account_id, base_url=second.base_url)
        await asyncio.sleep(1)
        after = await harness.ctx.accounts.get(account_id)
        await after.check()
        assert after is not before

    async def test_it_writes_how_an_account_does(self, harness: WorkerHarness, second: FaultyUpstream) -> None:
        account_id = await add_account(harness, second.base_url)
        upstream = await harness.ctx.accounts.get(account_id)
        await upstream.check()
        second.fault("GET /v1/models", error(500), times=0)
        for _ in range(UNAVAILABLE_AFTER_CALLS):
            with pytest.raises(Exception, match="500"):
                await upstream.check()
        assert harness.ctx.accounts.is_unavailable(account_id)
        await harness.ctx.accounts.close()
        async with harness.ctx.db.worker() as session:
            row = await session.get_one(UpstreamAccount, account_id)
        assert (row.last_success_at is not None, row.last_error_kind) == (True, "away")

    async def test_a_sealed_credential_is_used_by_its_own_row_only(
        self, harness: WorkerHarness, second: FaultyUpstream
    ) -> None:
        account_id = await add_account(harness, second.base_url)
        foreign = seal_credential(sealer_of(harness.ctx.settings), "upstream_another", "sk-0123456789")
        await change(harness, account_id, credential_sealed=foreign)
        fresh = Accounts(harness.ctx.settings, harness.ctx.db, sealer_of(harness.ctx.settings), UPSTREAMS)
        with pytest.raises(Exception, match="cannot be decrypted"):
            await fresh.get(account_id)
        await fresh.close()


class TestBulkhead:
    def test_a_shared_account_has_three_quarters_of_what_others_leave(self) -> None:
        bulkhead = Bulkhead(16, lambda account_id: False)
        assert sum(self.take(bulkhead, project, "a", 16) for project in "pqrstuvwxyz") == 12
        assert bulkhead.full().accounts == ["a"]
        assert self.take(bulkhead, "p2", "b", 16) == 1

    def test_of_a_project_s_share_too(self) -> None:
        bulkhead = Bulkhead(16, lambda account_id: False)
        assert (self.take(bulkhead, "p", "a", 16), bulkhead.full()) == (6, Full([], [Steps("p", "a")]))
        assert self.take(bulkhead, "p", "b", 16) == 1
        assert self.take(bulkhead, "q", "a", 16) == 3

    def test_one_that_does_not_answer_gets_a_few(self) -> None:
        bulkhead = Bulkhead(10, lambda account_id: True)
        assert [self.take(bulkhead, "p", "a", 10), bulkhead.full().accounts] == [PROBES, ["a"]]
        assert self.take(bulkhead, "q", "a", 10) == 0

    def test_what_has_ended_is_free_again(self) -> None:
        bulkhead = Bulkhead(1, lambda account_id: False)
        for _ in range(3):
            with bulkhead.enter("p", "a") as entered:
                assert entered
        assert bulkhead.full() == Full([], [])

    def take(self, bulkhead: Bulkhead, project_id: str, account_id: str, times: int) -> int:
        """Begin so many steps that do not end; how many were let."""
        begun = [bulkhead.enter(project_id, account_id) for _ in range(times)]
        self.kept = [*getattr(self, "kept", []), *begun]
        return sum(each.__enter__() for each in begun)
