"""Every kind of leased work is known everywhere: to the tables, the handlers, the listener and `/readyz`."""

import asyncio
import datetime as dt
from collections.abc import Iterator

import pytest
from sqlalchemy import func, update

from service.database import leased_work
from service.database.leased_work import CLAIMED_BY_OTHERS
from service.database.tables import Base, Leased, Run
from service.ids import new_id
from service.monitoring.readiness import REUSED_SECONDS
from tests.http.fixtures import Api
from tests.workers.harness import WorkerHarness
from workers.registry import HANDLERS, dispatcher_of
from workers.wakeup_listener import functions_of

LONG_DUE_DAYS = 1000
"""Longer than any row of another test is due."""


def leased_tables() -> Iterator[type[Leased]]:
    """Every table of leased work that the ORM knows."""
    return (mapper.class_ for mapper in Base.registry.mappers if issubclass(mapper.class_, Leased))


def test_every_leased_table_is_claimed_by_a_dispatcher_or_listed_as_claimed_by_others() -> None:
    dispatched = [work.table for work in leased_work.ALL]
    assert {*dispatched, *CLAIMED_BY_OTHERS} == set(leased_tables())
    assert not set(dispatched) & set(CLAIMED_BY_OTHERS)


def test_every_kind_has_a_name_and_a_table_of_its_own() -> None:
    assert len({work.name for work in leased_work.ALL}) == len({work.table for work in leased_work.ALL})
    assert len({work.name for work in leased_work.ALL}) == len(leased_work.ALL)


def test_every_kind_has_a_handler_and_every_queue_a_name_of_its_own() -> None:
    assert {handler.work for handler in HANDLERS} == set(leased_work.ALL)
    names = [handler.queue or handler.work.name for handler in HANDLERS]
    assert len(set(names)) == len(names)


async def test_the_listener_has_a_function_for_each_kind(harness: WorkerHarness) -> None:
    functions = functions_of(dispatcher_of(harness.ctx))
    assert [function.name for function in functions] == [work.name for work in leased_work.ALL]


async def test_readiness_counts_a_due_run(api: Api) -> None:
    async with api.rows() as session:
        run = Run(
            id=new_id("gen-"),
            project_id=api.one.project_id,
            api_key_id="key_test",
            kind="generation",
            options={},
            concurrency=1,
            budget_micros=0,
            total=1,
            due_at=func.now() - dt.timedelta(days=LONG_DUE_DAYS),
        )
        session.add(run)
    try:
        await asyncio.sleep(REUSED_SECONDS)
        async with api.http() as http:
            readiness = (await http.get(str(http.base_url.copy_with(path="/readyz")))).json()
    finally:
        async with api.rows() as session:
            await session.execute(update(Run).where(Run.id == run.id).values(due_at=None))
    assert readiness["status"] == "degraded"
    assert readiness["oldest_due_seconds"] == pytest.approx(LONG_DUE_DAYS * 86_400, abs=3600)
