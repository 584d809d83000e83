"""Places go to the project that occupies the fewest, and no project occupies more than half of what others leave."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.fair_places import FairPlaces, PlacesFull
from service.fair_shares import Waiting, fill, share


@pytest.mark.parametrize(
    ("places", "others", "most"), [(8, 0, 4), (8, 4, 2), (8, 6, 1), (8, 8, 1), (1, 0, 1), (2, 0, 1), (3, 0, 2)]
)
def test_a_share_is_half_of_what_the_others_leave(places: int, others: int, most: int) -> None:
    assert share(places, others) == most


def test_a_flood_waits_behind_a_project_with_nothing_active() -> None:
    waiting = {
        "flood": [Waiting(f"f{number}", number) for number in range(100)],
        "small": [Waiting("s", 1000.0)],
    }
    assert [item for _, item in fill(waiting, {"flood": 2}, places=4)] == ["s", "f0"][:1]


def test_projects_alternate_until_each_has_half_of_what_the_other_leaves() -> None:
    waiting = {
        name: [Waiting(f"{name}{number}", number + at) for number in range(4)] for name, at in [("b", 0.5), ("a", 0)]
    }
    assert [item for _, item in fill(waiting, {}, places=8)] == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_a_project_that_was_just_served_waits_behind_one_that_was_not_however_old_its_work_is() -> None:
    waiting = {"flood": [Waiting("f", 0.0)], "small": [Waiting("s", 50.0)]}
    assert [item for _, item in fill(waiting, {}, places=1)] == ["f"]
    assert [item for _, item in fill(waiting, {}, places=1, last_admissions={"flood": 60.0})] == ["s"]
    assert [item for _, item in fill(waiting, {}, places=1, last_admissions={"flood": 40.0})] == ["f"]


async def test_projects_alternate_at_one_place() -> None:
    places, order = FairPlaces(1), list[str]()

    async def work(project_id: str) -> None:
        async with places.occupy(project_id):
            order.append(project_id)
            await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as tasks:
        for project_id in [*["flood"] * 6, "small", "small"]:
            tasks.create_task(work(project_id))
    assert order[:6].count("small") == 2


@given(
    st.integers(1, 40),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 30)),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10)),
)
def test_places_are_never_exceeded_and_a_lone_waiter_is_served_while_one_is_free(
    places: int, lengths: dict[str, int], active: dict[str, int]
) -> None:
    waiting = {
        name: [Waiting((name, number), float(number)) for number in range(count)] for name, count in lengths.items()
    }
    given_places = [item for _, item in fill(waiting, active, places=places)]
    occupied = Counter(active)
    free = max(0, places - occupied.total())
    assert len(given_places) <= free
    occupied.update(name for name, _ in given_places)
    if len(given_places) < free:
        for name, count in lengths.items():
            served = sum(each == name for each, _ in given_places)
            assert served == count or occupied[name] >= share(places, occupied.total() - occupied[name])
    for name, count in lengths.items():
        assert [number for each, number in given_places if each == name] == list(range(count))[
            : sum(each == name for each, _ in given_places)
        ]


async def test_a_project_waits_at_its_share_while_another_gets_a_place() -> None:
    places = FairPlaces(4)
    async with AsyncExitStack() as occupied:
        await occupied.enter_async_context(places.occupy("a"))
        await occupied.enter_async_context(places.occupy("a"))
        third = asyncio.create_task(occupied.enter_async_context(places.occupy("a")))
        await asyncio.sleep(0)
        assert not third.done()
        async with places.occupy("b"), asyncio.timeout(1):
            assert (places.occupied_by("a"), places.occupied_by("b")) == (2, 1)
        third.cancel()
        await asyncio.gather(third, return_exceptions=True)
    assert places.occupied_by("a") == 0


async def test_a_cancelled_waiter_leaves_the_queue_and_the_next_one_is_served() -> None:
    places = FairPlaces(1)
    async with places.occupy("a"):
        waiting = [asyncio.create_task(_occupy(places, name)) for name in ("a", "b")]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
    await asyncio.wait_for(waiting[1], 1)
    with places.occupy_at_once("c") as taken:
        assert taken


async def test_a_place_that_was_given_to_a_cancelled_waiter_is_released() -> None:
    places = FairPlaces(1)
    occupied = AsyncExitStack()
    await occupied.enter_async_context(places.occupy("a"))
    waiting = asyncio.create_task(_occupy(places, "b"))
    await asyncio.sleep(0)
    await occupied.aclose()  # the place is given to b, whose task has not run yet
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    with places.occupy_at_once("c") as taken:
        assert taken


async def test_waiting_has_a_limit_of_its_own_for_each_project() -> None:
    places = FairPlaces(1, max_waiting=1)
    async with places.occupy("a"):
        waiting = [asyncio.create_task(_occupy(places, name)) for name in ("a", "b")]
        await asyncio.sleep(0)
        with pytest.raises(PlacesFull):
            await places.take("a")
    await asyncio.wait_for(asyncio.gather(*waiting), 1)


async def test_at_once_or_not_at_all() -> None:
    places = FairPlaces(2)
    with places.occupy_at_once("a") as first, places.occupy_at_once("a") as second, places.occupy_at_once("b") as other:
        assert (first, second, other) == (True, False, True)


async def _occupy(places: FairPlaces, project_id: str) -> None:
    async with places.occupy(project_id):
        await asyncio.sleep(0)
