"""`adapter` goes to a self-hosted trainer as it was given; elsewhere it is refused before anything is reserved."""

import datetime as dt

import pytest
from sqlalchemy import func, select

from service.database.tables import Job, LedgerEntry
from service.errors import InvalidRequest
from service.jobs.adapter_settings import AdapterSettings
from service.jobs.names import JobNames
from service.jobs.presentation import show_job
from service.jobs.schemas import FineTuningJob
from service.upstreams.accounts import DEFAULT_ACCOUNT
from tests.faults.control import FaultyUpstream
from tests.upstreams.conftest import add_account
from tests.upstreams.test_accounts import change, create
from tests.workers.harness import WorkerHarness

RANK_8 = AdapterSettings(rank=8, targets=["q_proj"])


async def test_is_sent_to_a_self_hosted_trainer_and_shown(harness: WorkerHarness) -> None:
    job = await harness.until_end(await create(harness, adapter=RANK_8))
    [sent] = harness.upstream.jobs(job.id)
    assert sent["adapter"] == {"type": "lora", "rank": 8, "targets": ["q_proj"]}
    shown = _shown(job).adapter
    assert shown is not None
    assert (shown.type, shown.rank, shown.alpha, shown.targets) == ("lora", 8, None, ["q_proj"])


async def test_is_not_sent_unless_it_is_given(harness: WorkerHarness) -> None:
    job = await harness.until_end(await harness.new_job())
    [sent] = harness.upstream.jobs(job.id)
    assert "adapter" not in sent
    assert _shown(job).adapter is None


@pytest.mark.parametrize("provider", ["openai", "azure"])
async def test_is_refused_where_no_upstream_takes_one(
    harness: WorkerHarness, azure: FaultyUpstream, provider: str
) -> None:
    if provider == "azure":
        await add_account(harness, azure.base_url, kind="azure")
        await change(harness, DEFAULT_ACCOUNT, models=["nothing"])
    else:
        await change(harness, DEFAULT_ACCOUNT, provider=provider)
    with pytest.raises(InvalidRequest) as refused:
        await create(harness, adapter=RANK_8)
    assert (refused.value.param, refused.value.code) == ("adapter", "upstream_unsupported")
    assert "self-hosted trainers" in refused.value.message
    async with harness.ctx.db.worker() as session:
        reserved = await session.scalar(
            select(func.count()).select_from(LedgerEntry).where(LedgerEntry.project_id == harness.project_id)
        )
    assert reserved == 0


async def test_a_waiting_job_goes_only_to_the_account_that_takes_it(
    harness: WorkerHarness, second: FaultyUpstream
) -> None:
    """Its provider changes while the job waits: it waits on, and goes to the other account."""
    job_id = await create(harness, adapter=RANK_8)
    await change(harness, DEFAULT_ACCOUNT, provider="openai")
    assert (await harness.steps(job_id, 4)).state == "waiting"
    account_id = await add_account(harness, second.base_url)
    assert (await harness.until_end(job_id)).account_id == account_id


def _shown(job: Job) -> FineTuningJob:
    return show_job(job, JobNames(), None, organization="org", now=dt.datetime.now(dt.UTC))
