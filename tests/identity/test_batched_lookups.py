"""Look-ups that share queries: few queries at a time, whatever is asked for meanwhile."""

import asyncio
from collections.abc import Sequence

import pytest

from service.database.batched_lookups import BatchedLookups


class Store:
    """Finds the lengths of words, as soon as a test lets it."""

    def __init__(self) -> None:
        self.queries: list[list[str]] = []
        self.running = self.max_running = 0
        self.open = asyncio.Event()

    async def query(self, words: Sequence[str]) -> dict[str, int]:
        """One query."""
        self.queries.append(list(words))
        self.running += 1
        self.max_running = max(self.max_running, self.running)
        await self.open.wait()
        self.running -= 1
        if "broken" in words:
            raise ConnectionError("gone")
        return {word: len(word) for word in words if word != "unknown"}


async def asked(lookups: BatchedLookups[str, int], *words: str) -> list["asyncio.Task[int | None]"]:
    """Look-ups that have begun."""
    tasks = [asyncio.create_task(lookups.find(word)) for word in words]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_what_is_asked_for_during_the_queries_goes_out_together() -> None:
    store = Store()
    lookups = BatchedLookups(store.query, max_queries=2)
    first = await asked(lookups, "a", "unknown")
    second = await asked(lookups, "bb")
    rest = [task for number in range(100) for task in await asked(lookups, f"{number:05}")]
    assert store.queries == [["a", "unknown"], ["bb"]]
    store.open.set()
    assert await asyncio.gather(*first, *second, *rest) == [1, None, 2] + [5] * 100
    assert (store.max_running, len(store.queries)) == (2, 3)


async def test_a_query_has_a_maximum_of_keys() -> None:
    store = Store()
    store.open.set()
    lookups = BatchedLookups(store.query, max_queries=1, max_keys=4)
    assert await asyncio.gather(*await asked(lookups, *"abcdefghij")) == [1] * 10
    assert [len(words) for words in store.queries] == [4, 4, 2]


async def test_no_look_up_uses_a_query_that_began_before_it() -> None:
    store = Store()
    lookups = BatchedLookups(store.query)
    both = [*await asked(lookups, "a"), *await asked(lookups, "a")]
    store.open.set()
    assert await asyncio.gather(*both) == [1, 1]
    assert store.queries == [["a"], ["a"]]


async def test_a_failure_reaches_everybody_in_its_query_and_nobody_else() -> None:
    store = Store()
    lookups = BatchedLookups(store.query, max_queries=1)
    failing = await asked(lookups, "broken", "a")
    later = await asked(lookups, "bb")
    store.open.set()
    for each in failing:
        with pytest.raises(ConnectionError):
            await each
    assert await later[0] == 2


async def test_one_that_gives_up_does_not_disturb_the_others() -> None:
    store = Store()
    lookups = BatchedLookups(store.query)
    gone, other = await asked(lookups, "a", "bb")
    gone.cancel()
    store.open.set()
    assert await other == 2
    with pytest.raises(asyncio.CancelledError):
        await gone
