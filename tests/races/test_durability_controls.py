"""Negative controls of durability: each takes one guard out and shows what happens without it.

Those of the fence and of the deadline stand in `test_claims.py`, of the create in `test_adoption_controls.py`, of the
reservation in `test_reservations.py`.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from service.database import leases
from service.database.tables import Job
from service.upstreams.adapters.openai import OpenAIUpstream
from service.upstreams.port import UpstreamJob
from service.webhooks import outbox
from tests.faults.control import CREATE
from tests.workers.harness import WorkerHarness


async def _claimed_by_another(harness: WorkerHarness) -> bool:
    async with harness.ctx.db.worker() as session:
        return bool(await leases.claim(session, Job, lease_seconds=30.0))


@pytest.mark.parametrize("guard", [True, False], ids=["with heartbeat", "without"])
async def test_without_a_heartbeat_long_work_is_done_twice(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch, guard: bool
) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    if not guard:
        monkeypatch.setattr(leases, "_renew", never)
    await harness.new_job()
    async with harness.ctx.db.worker() as session:
        [held] = await leases.claim(session, Job, lease_seconds=9.0)
    async with leases.heartbeat(harness.ctx.db, held):
        await asyncio.sleep(9.5)
        assert await _claimed_by_another(harness) is not guard


@pytest.mark.parametrize("guard", [True, False], ids=["with the check", "without"])
async def test_without_looking_at_the_marks_anothers_job_is_adopted(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch, guard: bool
) -> None:
    async def trusting(self: OpenAIUpstream, metadata: Mapping[str, str], **_: Any) -> list[UpstreamJob]:
        page = await self._client.fine_tuning.jobs.list(metadata=dict(metadata))
        return [self._parse_job(job) for job in page.data]

    if not guard:
        monkeypatch.setattr(OpenAIUpstream, "find_jobs", trusting)
    harness.upstream.configure(ignores_metadata=True)
    harness.upstream.put_job(id="ftjob-others", status="running", model="gpt-4o-mini", metadata={"team": "another"})
    harness.upstream.fault(CREATE, "reset")
    job_id = await harness.new_job()
    await harness.until_sent(job_id)
    for _ in range(4):
        await harness.pass_settle_time(job_id)
        await harness.step(job_id)
    assert ((await harness.job(job_id)).upstream_job_id == "ftjob-others") is not guard


class _Died(Exception):
    """The process is gone."""


@pytest.mark.parametrize("guard", [True, False], ids=["in the transaction", "after it"])
async def test_an_event_that_is_written_after_the_commit_is_lost_with_the_process(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch, guard: bool
) -> None:
    """The process dies between a job's end and what comes after its commit."""
    later: list[Mapping[str, Any]] = []

    async def emit_later(session: object, **event: Any) -> None:
        later.append(event)

    job_id = await harness.new_job()
    await harness.until(job_id, "settling")
    if not guard:
        monkeypatch.setattr(outbox, "emit", emit_later)
    claimed = await harness.claim(job_id)
    assert claimed is not None
    with pytest.raises(_Died):
        await _ends_and_dies(harness, claimed)
    assert (await harness.job(job_id)).state == "succeeded"
    assert ("succeeded" in await harness.webhooks(job_id)) is guard
    assert bool(later) is not guard


async def _ends_and_dies(harness: WorkerHarness, claimed: leases.Claim[Job]) -> None:
    from workers.jobs.advance import advance

    await advance(harness.ctx, claimed)
    raise _Died
