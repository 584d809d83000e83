"""Projects share the look-ups of names: names that never resolve occupy a part, and others' names are looked up."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address

import pytest

from service.egress.addresses import Address, Reach
from service.egress.resolver import LookupTimedOut, Resolver
from service.webhooks.outcomes import Unreachable
from tests.webhooks.factories import new_sender

PLACES = 16
FOUND = [IPv4Address("127.0.0.9")]


class NameServer:
    """Answers names at once, except those that contain `hangs`, until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.asked: list[str] = []

    def lookup(self, host: str) -> Sequence[Address]:
        """The look-up of the operating system, which blocks."""
        self.asked.append(host)
        if "hangs" in host:
            self.released.wait(120)
        return FOUND


@pytest.fixture
def names() -> Iterator[NameServer]:
    """A name server whose threads end with the test."""
    server = NameServer()
    yield server
    server.released.set()


async def test_names_that_never_resolve_leave_places_for_others(names: NameServer) -> None:
    resolver = Resolver(names.lookup, places=PLACES)
    hanging = [
        asyncio.create_task(resolver.addresses(f"{number}.hangs.example.com", owner=owner))
        for owner in ("proj_a", "proj_c")
        for number in range(2 * PLACES)
    ]
    await asyncio.sleep(0)
    for number in range(2 * PLACES):
        assert await resolver.addresses(f"{number}.example.com", owner="proj_b", timeout_seconds=60) == FOUND
    assert await resolver.addresses("upstream.example.com", owner="", timeout_seconds=60) == FOUND
    asked = sum("hangs" in host for host in names.asked)
    assert asked == PLACES // 2 + PLACES // 4  # half, and half of what that leaves
    names.released.set()
    assert await asyncio.gather(*hanging) == [FOUND] * len(hanging)  # those that waited were looked up at last


async def test_a_lookup_counts_until_its_thread_returns(names: NameServer) -> None:
    resolver = Resolver(names.lookup, places=2)
    with pytest.raises(LookupTimedOut, match="the name servers did not answer within"):
        await resolver.addresses("hangs.example.com", owner="proj_a", timeout_seconds=0.01)
    with pytest.raises(LookupTimedOut, match=r"1 look-ups of other names .* its share of 2"):
        await resolver.addresses("example.com", owner="proj_a", timeout_seconds=0.01)
    assert names.asked == ["hangs.example.com"]
    names.released.set()
    assert await resolver.addresses("example.com", owner="proj_a", timeout_seconds=60) == FOUND


async def test_callers_that_wait_for_a_place_share_the_lookup_of_a_name(names: NameServer) -> None:
    resolver = Resolver(names.lookup, places=2)
    with pytest.raises(LookupTimedOut):
        await resolver.addresses("hangs.example.com", owner="proj_a", timeout_seconds=0.01)
    same = [asyncio.create_task(resolver.addresses("2.hangs.example.com", owner="proj_a")) for _ in range(3)]
    names.released.set()
    assert await asyncio.gather(*same) == [FOUND] * 3


async def test_an_attempt_that_waited_for_a_place_does_not_blame_the_name(names: NameServer) -> None:
    resolver = Resolver(names.lookup, places=2)
    sender = new_sender(reach=Reach.LOOPBACK, timeout_seconds=0.2, resolver=resolver)
    await sender.send("https://hangs.example.com/", {}, b"{}", project_id="proj_a")
    outcome = await sender.send("https://good.example.com/", {}, b"{}", project_id="proj_a")
    assert isinstance(outcome, Unreachable)
    assert outcome.reason == "timeout"
    assert "look-ups of other names of the project" in outcome.detail
    other = await sender.send("https://good.example.com/", {}, b"{}", project_id="proj_b")
    assert isinstance(other, Unreachable)
    assert other.reason == "connect_failed"  # it was looked up: nothing listens there
