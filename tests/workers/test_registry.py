"""Every kind of leased work is known everywhere: to the tables, the handlers, the listener and `/readyz`."""

from collections.abc import Iterator

import pytest
from sqlalchemy import func
from sqlalchemy.orm import Mapper

from service.database import leased_work
from service.database.leased_work import CLAIMED_BY_OTHERS
from service.database.tables import Base, Leased, Run
from service.health import read_database
from tests.workers.harness import Bench
from workers.context import Context
from workers.registry import HANDLERS, dispatcher_of
from workers.wakeup_listener import functions_of


def leased_tables() -> Iterator[type[Leased]]:
    """Every table of leased work that the ORM knows."""
    mappers: frozenset[Mapper[object]] = Base.registry.mappers
    return (mapper.class_ for mapper in mappers if issubclass(mapper.class_, Leased))


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


async def test_the_listener_has_a_function_for_each_kind(bench: Bench) -> None:
    functions = functions_of(dispatcher_of(bench.ctx))
    assert [function.name for function in functions] == [work.name for work in leased_work.ALL]


@pytest.mark.parametrize("kind", ["generation", "comparison"])
async def test_readiness_counts_a_due_run(bench: Bench, kind: str) -> None:
    ctx: Context = bench.ctx
    await add_due_run(bench, kind)
    found = await read_database(ctx.db)
    assert found.oldest_due_seconds is not None
    assert found.oldest_due_seconds >= 60
