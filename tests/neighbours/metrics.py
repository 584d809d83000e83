"""Attacks on the operators' pages, without a key."""

from tests.neighbours.attacker import Attacker
from tests.neighbours.exchange import Address, Answer, exchange, request


async def scrapes(attacker: Attacker) -> None:
    """50 concurrent scrapes of the API and of the worker."""
    await _ask(attacker, attacker.internal_addresses, "/metrics")


async def internal_readiness(attacker: Attacker) -> None:
    """50 concurrent checks of the readiness of both, where operators ask for it."""
    await _ask(attacker, attacker.internal_addresses, "/readyz")


async def readiness(attacker: Attacker) -> None:
    """50 concurrent checks of readiness where callers are served."""
    await _ask(attacker, (attacker.address,), "/readyz")


async def _ask(attacker: Attacker, addresses: tuple[Address, ...], path: str) -> None:
    prepared = request("GET", path)

    async def ask(number: int) -> Answer:
        return await exchange(addresses[number % len(addresses)], prepared)

    await attacker.repeat(ask, at_once=50)


ATTACKS = (scrapes, internal_readiness, readiness)
SHORT = (scrapes, readiness)
