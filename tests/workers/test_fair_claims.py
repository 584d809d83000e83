"""Projects share the places of each kind of leased work, at a cost that does not grow with their backlogs."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Select, false, text
from sqlalchemy.dialects import postgresql

from service.database.fair_claims import FREE, longest_due
from service.database.leased_work import DELETIONS
from service.database.leases import Claim
from service.database.tables import Deletion, Project
from service.ids import new_id
from tests.workers.harness import WorkerHarness
from workers.dispatcher import Dispatcher, Queue
from workers.registry import HANDLERS


@dataclass(slots=True)
class Steps:
    """Steps that run until they are released."""

    started: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    claims: int = 0

    async def run(self, claimed: Claim[Deletion]) -> None:
        """A step."""
        self.started.append(claimed.row.project_id)
        await self.ended.wait()

    def heads(self) -> Select[Any]:
        """The rows to claim; counts the claims."""
        self.claims += 1
        return longest_due(Deletion)

    def no_heads(self) -> Select[Any]:
        """No rows to claim; counts the claims."""
        self.claims += 1
        return longest_due(Deletion, [false()])

    def queue(self, places: int, *, separate: bool = False) -> Queue:
        """A queue of these steps."""
        return Queue("deletions", DELETIONS, self.run, places, self.heads, separate)

    async def until(self, count: int) -> Counter[str]:
        """The projects of the steps that have started, once there are so many."""
        async with asyncio.timeout(30):
            while len(self.started) < count:
                await asyncio.sleep(0.01)
        return Counter(self.started)


@contextlib.asynccontextmanager
async def dispatching(harness: WorkerHarness, *queues: Queue, every: float = 60.0) -> AsyncIterator[Dispatcher]:
    """A dispatcher that claims when it starts, when a step ends and when it is woken."""
    dispatcher = Dispatcher(harness.ctx.db, list(queues), lease_seconds=60, every_seconds=every)
    running = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        await dispatcher.stop(0)
        await running


async def projects(harness: WorkerHarness, count: int) -> list[str]:
    """So many projects."""
    ids = [new_id("proj_") for _ in range(count)]
    async with harness.ctx.db.admin() as session:
        session.add_all([Project(id=each, name="other") for each in ids])
    return ids


async def backlog(harness: WorkerHarness, project_id: str, count: int, *, minutes: int) -> None:
    """So many rows of a project, due since so many minutes ago."""
    async with harness.ctx.db.worker() as session:
        await session.execute(
            text(
                "INSERT INTO deletions (id, project_id, kind, subject, due_at) SELECT :project || n, :project, "
                "'file', :project || n, now() - make_interval(mins => :minutes) FROM generate_series(1, :count) n"
            ),
            {"project": project_id, "count": count, "minutes": minutes},
        )


class TestShares:
    async def test_a_flood_leaves_places_that_another_project_gets_at_once(self, harness: WorkerHarness) -> None:
        flood, small = await projects(harness, 2)
        await backlog(harness, flood, 100, minutes=60)
        steps = Steps()
        async with dispatching(harness, steps.queue(8)) as dispatcher:
            assert await steps.until(4) == {flood: 4}
            await backlog(harness, small, 1, minutes=0)
            await dispatcher.wake("deletions")
            assert await steps.until(5) == {flood: 4, small: 1}

    async def test_three_floods_leave_one_place(self, harness: WorkerHarness) -> None:
        ids = await projects(harness, 4)
        for number, project_id in enumerate(ids[:3]):
            await backlog(harness, project_id, 20, minutes=60 - number)
        steps = Steps()
        async with dispatching(harness, steps.queue(8)) as dispatcher:
            assert sorted((await steps.until(6)).values()) == [2, 2, 2]
            await backlog(harness, ids[3], 1, minutes=0)
            await dispatcher.wake("deletions")
            assert (await steps.until(7))[ids[3]] == 1

    async def test_projects_alternate_however_old_the_backlog_of_one_is(self, harness: WorkerHarness) -> None:
        flood, small = await projects(harness, 2)
        await backlog(harness, flood, 6, minutes=60)
        await backlog(harness, small, 2, minutes=5)
        steps = Steps()
        steps.ended.set()
        async with dispatching(harness, steps.queue(1), every=0.02):
            await steps.until(5)
        assert steps.started[:5].count(small) == 2

    async def test_wake_ups_in_a_burst_cause_few_claims_and_get_no_place_before_others(
        self, harness: WorkerHarness
    ) -> None:
        flood, small = await projects(harness, 2)
        steps = Steps()
        async with dispatching(harness, steps.queue(4)) as dispatcher:
            await backlog(harness, flood, 50, minutes=0)
            await backlog(harness, small, 1, minutes=0)
            await asyncio.gather(*(dispatcher.wake("deletions") for _ in range(50)))
            assert await steps.until(3) == {flood: 2, small: 1}
            assert steps.claims <= 2

    async def test_workers_that_claim_at_once_start_each_row_once(self, harness: WorkerHarness) -> None:
        ids = await projects(harness, 4)
        for project_id in ids:
            await backlog(harness, project_id, 3, minutes=1)
        steps = Steps()
        queues = [steps.queue(8) for _ in range(4)]
        async with contextlib.AsyncExitStack() as stack:
            for queue in queues:
                await stack.enter_async_context(dispatching(harness, queue, every=0.05))
            assert await steps.until(12) == dict.fromkeys(ids, 3)
            assert sum(len(queue.tasks) for queue in queues) == 12


@pytest.mark.parametrize("separate", [True, False])
async def test_when_a_step_of_a_separate_queue_ends_no_other_queue_is_claimed(
    harness: WorkerHarness, separate: bool
) -> None:
    """Ten rows, one after the other; the other queue never has any."""
    (project_id,) = await projects(harness, 1)
    await backlog(harness, project_id, 10, minutes=1)
    steps, other = Steps(), Steps()
    steps.ended.set()
    other_queue = Queue("others", DELETIONS, other.run, 1, other.no_heads)
    async with dispatching(harness, steps.queue(1, separate=separate), other_queue):
        await steps.until(10)
    assert (other.claims == 1) == separate


def test_every_kind_whose_rows_have_a_project_is_claimed_by_project(harness: WorkerHarness) -> None:
    queues = [handler.bind(harness.ctx) for handler in HANDLERS]
    assert [queue.name for queue in queues if queue.heads is None] == ["scheduling_passes"]


class TestCost:
    async def test_of_a_claim_does_not_grow_with_a_backlog(self, harness: WorkerHarness) -> None:
        (project_id,) = await projects(harness, 1)
        await backlog(harness, project_id, 20, minutes=60)
        small = await self.plan(harness)
        await backlog(harness, (await projects(harness, 1))[0], 10_000, minutes=60)
        assert pages(await self.plan(harness)) < 6 * pages(small)  # a read of the whole backlog has forty times as many

    async def test_of_a_claim_is_a_few_look_ups_for_each_project_that_waits(self, harness: WorkerHarness) -> None:
        for project_id in await projects(harness, 1000):
            await backlog(harness, project_id, 1, minutes=60)
        await backlog(harness, (await projects(harness, 1))[0], 10_000, minutes=60)
        plan = await self.plan(harness)
        assert "Seq Scan" not in {node["Node Type"] for node in nodes(plan) if node.get("Relation Name") == "deletions"}
        assert pages(plan) < 1001 * 20

    async def plan(self, harness: WorkerHarness) -> dict[str, Any]:
        """The plan of the query that reads what may be claimed, and the pages that it read."""
        query = longest_due(Deletion).params({FREE.key: 16})
        sql = query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]
        async with harness.ctx.db.claims() as session:
            explained: Any = await session.scalar(text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}"))
        plan: dict[str, Any] = explained[0]["Plan"]
        return plan


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Every node of a plan."""
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]


def pages(plan: dict[str, Any]) -> int:
    """The pages that were read."""
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
