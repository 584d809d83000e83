"""However many ask for a result, it is computed once at a time and reused for a moment."""

import asyncio

from service.monitoring.shared_result import SharedResult


class Computation:
    """Counts how often it runs, and ends when a test lets it."""

    def __init__(self) -> None:
        self.runs = 0
        self.open = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.runs += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return self.runs


async def test_many_who_ask_at_the_same_time_share_one_computation() -> None:
    computation = Computation()
    shared = SharedResult(computation, seconds=0.0)
    asked = [asyncio.create_task(shared.get()) for _ in range(100)]
    await asyncio.sleep(0)
    asked[0].cancel()
    computation.open.set()
    assert await asyncio.gather(*asked[1:]) == [1] * 99
    assert computation.runs == 1
    assert await shared.get() == 2, "it is not reused for longer than it may be"


async def test_a_result_is_reused_for_its_time() -> None:
    computation = Computation()
    computation.open.set()
    shared = SharedResult(computation, seconds=600.0)
    assert [await shared.get() for _ in range(3)] == [1, 1, 1]


async def test_an_error_reaches_those_who_wait_and_is_not_reused() -> None:
    computation = Computation()
    computation.error = ConnectionError("gone")
    computation.open.set()
    shared = SharedResult(computation, seconds=600.0)
    outcomes = await asyncio.gather(shared.get(), shared.get(), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ConnectionError] * 2
    computation.error = None
    assert await shared.get() == 2
