"""Operations that come while a transaction runs are committed together by the next one."""

import asyncio
from collections.abc import Sequence

import pytest
from asyncpg.exceptions import UniqueViolationError
from sqlalchemy.exc import IntegrityError

from service.database.group_commit import GroupCommit

REFUSED = "refused"


class Transactions:
    """Records the operations of each transaction, which ends when `end` is set."""

    def __init__(self) -> None:
        self.operations: list[list[str]] = []
        self.end = asyncio.Event()
        self.failure: Exception | None = None

    async def commit(self, operations: Sequence[str]) -> list[str]:
        """A transaction."""
        self.operations.append(list(operations))
        await self.end.wait()
        if self.failure is not None:
            raise self.failure
        if REFUSED in operations:
            raise IntegrityError("insert", {}, UniqueViolationError())
        return [f"{each} is committed" for each in operations]


def submit(group: GroupCommit[str, str], *operations: str) -> "list[asyncio.Task[str]]":
    """Callers of one operation each."""
    return [asyncio.create_task(group.submit(each)) for each in operations]


async def test_one_begins_at_once_and_the_next_take_all_that_came_meanwhile() -> None:
    transactions = Transactions()
    group = GroupCommit(transactions.commit, max_operations=3)
    callers = submit(group, "a")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert transactions.operations == [["a"]]
    callers += submit(group, "b", "c", "d", "e")
    await asyncio.sleep(0)
    transactions.end.set()
    assert await asyncio.gather(*callers) == [f"{each} is committed" for each in "abcde"]
    assert transactions.operations == [["a"], ["b", "c", "d"], ["e"]]
    assert await group.submit("f") == "f is committed"


async def test_others_are_committed_without_one_that_violates_a_constraint() -> None:
    transactions = Transactions()
    transactions.end.set()
    group = GroupCommit(transactions.commit)
    first, second, third = await asyncio.gather(*submit(group, "a", REFUSED, "b"), return_exceptions=True)
    assert [first, third] == ["a is committed", "b is committed"]
    assert isinstance(second, IntegrityError)


async def test_a_lost_database_fails_all_and_the_next_ones_are_committed() -> None:
    transactions = Transactions()
    transactions.end.set()
    transactions.failure = OSError("the connection is lost")
    group = GroupCommit(transactions.commit)
    assert [type(each) for each in await asyncio.gather(*submit(group, "a", "b"), return_exceptions=True)] == [
        OSError,
        OSError,
    ]
    assert transactions.operations == [["a", "b"]]
    transactions.failure = None
    assert await group.submit("c") == "c is committed"


async def test_an_operation_of_a_cancelled_caller_is_committed() -> None:
    transactions = Transactions()
    group = GroupCommit(transactions.commit)
    first, second, third = submit(group, "a", "b", "c")
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    transactions.end.set()
    assert [await first, await third] == ["a is committed", "c is committed"]
    assert sorted(each for operations in transactions.operations for each in operations) == ["a", "b", "c"]
