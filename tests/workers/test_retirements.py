"""`model.retiring`: emitted once for each project, model and threshold, to projects that have or use the model."""

import asyncio
import datetime as dt
import json
from typing import Any

import pytest
from sqlalchemy import select, update

from service.database.tables import Job, Model, ModelAlias, Project, UpstreamAccount, WebhookEvent
from service.ids import new_id
from service.upstreams.accounts import DEFAULT_ACCOUNT
from service.webhooks.event_types import CATALOGUE
from tests.workers.harness import MODEL, WorkerHarness
from workers.maintenance.retirement_notices import send_notices

STOPS = dt.date(2027, 1, 14)
"""When OpenAI shuts gpt-4o-mini down, by the catalogue."""


@pytest.fixture
async def at_openai(harness: WorkerHarness) -> WorkerHarness:
    """A harness whose default account is OpenAI's."""
    async with harness.ctx.db.worker() as session:
        await session.execute(
            update(UpstreamAccount).where(UpstreamAccount.id == DEFAULT_ACCOUNT).values(provider="openai")
        )
    return harness


async def tuned(harness: WorkerHarness) -> str:
    """A tuned model of the project."""
    job_id, name = await harness.new_job(), f"ft:{MODEL}:tunegate::{new_id('')}"
    async with harness.ctx.db.worker() as session:
        session.add(
            Model(
                name=name,
                project_id=harness.project_id,
                job_id=job_id,
                kind="model",
                base_model=MODEL,
                account_id=DEFAULT_ACCOUNT,
                upstream_name=f"up-{name}",
            )
        )
    return name


async def at(harness: WorkerHarness, days_before: int) -> int:
    """A round so many days before the shutdown."""
    return await send_notices(harness.ctx.db, harness.ctx.catalogue, STOPS - dt.timedelta(days=days_before))


async def reported(harness: WorkerHarness) -> list[dict[str, Any]]:
    """The data of every such event about gpt-4o-mini, in order."""
    query = select(WebhookEvent.body).where(WebhookEvent.type == "model.retiring", WebhookEvent.subject == MODEL)
    async with harness.ctx.db.worker() as session:
        return [json.loads(body)["data"] for body in await session.scalars(query.order_by(WebhookEvent.position))]


async def test_once_at_thirty_days_and_once_at_seven(at_openai: WorkerHarness) -> None:
    name = await tuned(at_openai)
    for days in (100, 31, 30, 29, 8, 7, 6, 0, -1):
        for _ in range(2):
            await at(at_openai, days)
    first, second = await reported(at_openai)
    assert (first["days_left"], second["days_left"]) == (30, 7)
    assert set(first) == {"id", *CATALOGUE["model.retiring"].data}
    assert (first["id"], first["shutdown_date"]) == (MODEL, "2027-01-14")
    assert (first["fine_tuned_models"], first["aliases"]) == ([name], [])


async def test_a_late_project_gets_the_nearest_threshold_only(at_openai: WorkerHarness) -> None:
    await at(at_openai, 20)
    assert await reported(at_openai) == []
    await tuned(at_openai)
    for days in (3, 2):
        await at(at_openai, days)
    assert [event["days_left"] for event in await reported(at_openai)] == [3]


async def test_two_workers_at_once_tell_it_once(at_openai: WorkerHarness) -> None:
    await tuned(at_openai)
    made = await asyncio.gather(*(at(at_openai, 30) for _ in range(4)))
    assert (sum(made), len(await reported(at_openai))) == (1, 1)


async def test_aliases_and_recent_jobs_count_as_use_and_other_projects_get_nothing(at_openai: WorkerHarness) -> None:
    db, stranger, job_id = at_openai.ctx.db, new_id("proj_"), await at_openai.new_job()
    async with db.admin() as session:
        session.add(Project(id=stranger, name="stranger"))
    assert await at(at_openai, 30) == 0
    async with db.worker() as session:
        await session.execute(update(Job).where(Job.id == job_id).values(account_id=DEFAULT_ACCOUNT))
    assert await at(at_openai, 30) == 1
    async with db.worker() as session:
        await session.execute(
            update(Job).where(Job.id == job_id).values(created_at=dt.datetime.now(dt.UTC) - dt.timedelta(days=91))
        )
        session.add(
            ModelAlias(
                id=new_id("alias_"), project_id=at_openai.project_id, name="live", model="gpt-4o-mini", version=1
            )
        )
    assert await at(at_openai, 7) == 1
    assert [event["aliases"] for event in await reported(at_openai)] == [[], ["live"]]
    assert {event["project_id"] for event in await reported(at_openai)} == {at_openai.project_id}


async def test_a_deleted_model_and_another_provider_are_nobody_s_concern(harness: WorkerHarness) -> None:
    name = await tuned(harness)
    assert await at(harness, 7) == 0
    async with harness.ctx.db.worker() as session:
        await session.execute(update(Model).where(Model.name == name).values(deleted_at=dt.datetime.now(dt.UTC)))
        await session.execute(update(UpstreamAccount).values(provider="openai"))
    assert await at(harness, 7) == 0
