"""A job's `deploy`: in the transaction of its success, so once, whenever a worker dies."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select, update

from service.database.tables import AliasPromotion, Job, ModelAlias, WebhookEvent
from service.ids import new_id
from service.models.aliases.actions import MAX_ALIASES
from service.settings import Settings
from tests.faults.control import FaultyUpstream
from tests.workers.harness import MODEL, WorkerHarness, ended, open_harness, working
from tests.workers.process import WorkerProcess


async def deploying(harness: WorkerHarness, alias: str) -> str:
    """A job that deploys."""
    job_id = await harness.new_job()
    async with harness.ctx.db.worker() as session:
        await session.execute(update(Job).where(Job.id == job_id).values(deploy_alias=alias))
    return job_id


async def promotions(harness: WorkerHarness) -> list[tuple[int, str, str | None]]:
    """The history of all aliases: version, model, job."""
    async with harness.ctx.db.worker() as session:
        rows = await session.scalars(select(AliasPromotion).order_by(AliasPromotion.alias_id, AliasPromotion.version))
        return [(row.version, row.model, row.job_id) for row in rows]


async def reported(harness: WorkerHarness) -> list[str]:
    """The models of the events about aliases."""
    query = select(WebhookEvent.body).where(WebhookEvent.type == "model_alias.promoted")
    async with harness.ctx.db.worker() as session:
        return [json.loads(body)["data"]["model"] for body in await session.scalars(query)]


@pytest.mark.parametrize("point", ["settle.results_stored", "settle.deployed", "settle.ended"])
async def test_a_worker_killed_there_has_promoted_once(
    long_lease_settings: Settings, upstream: FaultyUpstream, tmp_path: Path, point: str
) -> None:
    upstream.steps("running", "succeeded")
    async with open_harness(long_lease_settings, upstream) as harness:
        job_id = await deploying(harness, "live")
        async with WorkerProcess(long_lease_settings, tmp_path, fault_point=point) as first:
            await first.killed()
        await harness.end_leases()
        async with working(harness):
            await ended(harness, job_id)
        job = await harness.assert_succeeded_once(job_id)
        assert (job.deploy_status, job.deploy_detail) == ("deployed", None)
        assert await promotions(harness) == [(1, job.fine_tuned_model, job_id)]
        assert await reported(harness) == [job.fine_tuned_model]


async def test_the_last_to_succeed_wins_and_an_alias_that_was_deleted_is_made_again(harness: WorkerHarness) -> None:
    names = []
    for _ in range(2):
        harness.upstream.steps("running", "succeeded")
        job = await harness.until_end(await deploying(harness, "live"))
        names.append(job.fine_tuned_model)
    assert [model for _, model, _ in await promotions(harness)] == names
    async with harness.ctx.db.worker() as session:
        await session.delete((await session.scalars(select(ModelAlias))).one())
    harness.upstream.steps("running", "succeeded")
    job = await harness.until_end(await deploying(harness, "live"))
    assert await promotions(harness) == [(1, job.fine_tuned_model, job.id)]


async def test_what_refuses_a_deployment_does_not_fail_the_job(harness: WorkerHarness) -> None:
    async with harness.ctx.db.worker() as session:
        session.add_all(
            ModelAlias(id=new_id("alias_"), project_id=harness.project_id, name=f"n{number}", model=MODEL, version=1)
            for number in range(MAX_ALIASES)
        )
    harness.upstream.steps("running", "succeeded")
    job = await harness.until_end(await deploying(harness, "one-more"))
    assert (job.state, job.deploy_status) == ("succeeded", "refused")
    assert "at most" in (job.deploy_detail or "")
    [warning] = await harness.messages(job.id, "warn")
    assert "not deployed to the alias one-more" in warning
    assert await promotions(harness) == []


async def test_a_failed_job_deploys_nothing(harness: WorkerHarness) -> None:
    harness.upstream.steps("running", "failed")
    job = await harness.until_end(await deploying(harness, "live"))
    assert (job.state, job.deploy_status) == ("failed", None)
    assert await promotions(harness) == []
