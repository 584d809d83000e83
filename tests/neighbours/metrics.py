"""Attacks on the operators' pages, without a key."""

from tests.neighbours.attacker import Attacker
from tests.neighbours.exchange import Address, Answer, exchange, request


async def scrapes(attacker: Attacker) -> None:
    """50 concurrent scrapes."""
    await _ask(attacker, attacker.metrics_address, "/metrics")


async def readiness(attacker: Attacker) -> None:
    """50 concurrent checks of readiness."""
    await _ask(attacker, attacker.address, "/readyz")


async def _ask(attacker: Attacker, address: Address, path: str) -> None:
    prepared = request("GET", path)

    async def ask(_: int) -> Answer:
        return await exchange(address, prepared)

    await attacker.repeat(ask, at_once=50)


ATTACKS = (scrapes, readiness)
SHORT = (scrapes, readiness)
