"""Names that lead inside, and names that change between the check and the use: not one connection is made."""

import dataclasses
import sys
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from service.egress.addresses import Reach
from service.egress.resolver import Resolver
from service.errors import InvalidRequest
from service.webhooks.outcomes import Delivered, Unreachable
from tests.egress.name_server import can_be_asked, name_server
from tests.egress.test_addresses import FORBIDDEN
from tests.webhooks.factories import WebhookHarness, new_sender
from tests.webhooks.receiver import Receiver
from workers.webhooks.deliver import deliver

HEADERS = {"webhook-id": "evt_1", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
PUBLIC = "192.0.9.1"
"""Of no special range, and only ever checked here, never dialled."""

by_name = pytest.mark.skipif(not can_be_asked(), reason="look-ups of this machine cannot be sent to a server of ours")

_dialled: list[Any] | None = None
_others: set[int] = set()
"""The threads that ran before, as that of an API which other tests share: their connections do not count here."""


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _dialled is not None and threading.get_ident() not in _others:
        _dialled.append(arguments[1])


sys.addaudithook(_note)


@pytest.fixture
def dialled() -> Iterator[list[Any]]:
    """Every address that this test has tried to connect to since, in whatever thread."""
    global _dialled
    _others.clear()
    _others.update(each.ident for each in threading.enumerate() if each.ident)
    _others.discard(threading.get_ident())
    _dialled = []
    yield _dialled
    _dialled = None


def reason(outcome: object) -> str:
    """Why there was no answer."""
    assert isinstance(outcome, Unreachable), outcome
    return outcome.reason


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_no_address_of_the_list_is_dialled(dialled: list[Any], address: str) -> None:
    found = [ip_address(address)]
    sender = new_sender(reach=Reach.PUBLIC, resolver=Resolver(lambda host: found))
    literal = f"[{address}]" if ":" in address else address
    for host in ("hooks.example.com", literal):
        outcome = await sender.send(f"https://{host}/", HEADERS, b"{}")
        assert reason(outcome) == "forbidden_target"
    with pytest.raises(InvalidRequest):
        await sender.check("https://hooks.example.com/")
    assert dialled == []


class TestNameServer:
    @by_name
    async def test_an_answer_that_changes_after_the_check_is_not_dialled(
        self, dialled: list[Any], receiver: Receiver
    ) -> None:
        """The classic: public when the endpoint is made, this machine when the event is sent."""
        with name_server([PUBLIC], ["127.0.0.1"]) as names:
            sender = new_sender(reach=Reach.PUBLIC, resolver=Resolver(names.lookup))
            url = f"https://rebind.example.com:{receiver.port}/"
            await sender.check(url)
            assert reason(await sender.send(url, HEADERS, b"{}")) == "forbidden_target"
            assert names.asked == ["rebind.example.com", "rebind.example.com"]
        assert (dialled, receiver.open_connections, receiver.received) == ([], 0, [])

    @by_name
    async def test_what_is_dialled_is_what_was_judged(self, dialled: list[Any], receiver: Receiver) -> None:
        """A third answer would lead elsewhere: nobody asks for it, since the address is dialled and not the name."""
        with name_server(["127.0.0.1"], ["127.0.0.1"], ["127.0.0.9"]) as names:
            sender = new_sender(reach=Reach.PRIVATE, resolver=Resolver(names.lookup))
            url = f"http://rebind.example.com:{receiver.port}/"
            await sender.check(url)
            assert isinstance(await sender.send(url, HEADERS, b"{}"), Delivered)
            assert len(names.asked) == 2
        assert dialled == [("127.0.0.1", receiver.port)]

    @by_name
    async def test_of_several_addresses_only_the_permitted_are_dialled(
        self, dialled: list[Any], receiver: Receiver
    ) -> None:
        with name_server(["169.254.169.254", "127.0.0.1", "10.0.0.1"]) as names:
            sender = new_sender(reach=Reach.LOOPBACK, timeout_seconds=4, resolver=Resolver(names.lookup))
            outcome = await sender.send(f"https://mixed.example.com:{receiver.port}/", HEADERS, b"{}")
        assert reason(outcome) == "timeout"  # of the handshake, with a receiver that speaks no TLS
        assert dialled == [("127.0.0.1", receiver.port)]

    @by_name
    async def test_a_delivery_to_a_name_that_was_moved_inside_is_shown_as_forbidden(
        self, webhook_harness: WebhookHarness, receiver: Receiver
    ) -> None:
        with name_server(["169.254.169.254"]) as names:
            sender = new_sender(reach=Reach.PUBLIC, resolver=Resolver(names.lookup))
            moved = dataclasses.replace(webhook_harness, sender=sender)
            await webhook_harness.new_endpoint(f"https://moved.example.com:{receiver.port}/")
            await webhook_harness.emit()
            (claimed,) = await webhook_harness.claim()
            await deliver(moved, claimed)
        (attempt,) = await webhook_harness.attempts()
        assert (attempt.error or "").startswith("forbidden_target")
        assert receiver.received == []
