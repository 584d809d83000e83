"""Attacks on the checks of keys and signatures, without a good one."""

import asyncio

from service.settings import Settings
from tests.neighbours.attacker import Attacker
from tests.neighbours.exchange import Answer, request

FAILED_KEYS_PER_MINUTE = Settings().failed_keys_per_minute
AT_ONCE = 8
UNSIGNED = ("webhook-id: a", "webhook-timestamp: 1", "webhook-signature: v1,abc")


async def bad_keys(attacker: Attacker) -> None:
    """Hundreds of bad keys a minute from the address from which the victim uses its keys for the first time."""

    async def ask(number: int) -> Answer:
        return await attacker.send(request("GET", "/v1/files", key=f"tg_live_bad{number:06}"))

    for number in range(FAILED_KEYS_PER_MINUTE // AT_ONCE):
        await asyncio.gather(*(ask(-1 - number * AT_ONCE - each) for each in range(AT_ONCE)))
    await attacker.repeat(ask, at_once=AT_ONCE)


async def malformed_keys(attacker: Attacker) -> None:
    """Keys that cannot be keys, of every length that a header may have."""

    async def ask(number: int) -> Answer:
        return await attacker.send(request("GET", "/v1/files", key="x" * (1 + number * 97 % 8000)))

    await attacker.repeat(ask, at_once=4)


async def bad_signatures(attacker: Attacker) -> None:
    """Webhooks of upstreams with bad signatures, to accounts that exist and that do not."""
    account = await attacker.account("answers")
    paths = [f"/v1/upstreams/{name}/events" for name in ("default", account, "acct_unknown")]
    prepared = [request("POST", path, body=b'{"a":1}' * 1000, headers=UNSIGNED) for path in paths]

    async def send(number: int) -> Answer:
        return await attacker.send(prepared[number % len(prepared)])

    await attacker.repeat(send, at_once=4)


ATTACKS = (bad_keys, malformed_keys, bad_signatures)
SHORT = (bad_keys, bad_signatures)
