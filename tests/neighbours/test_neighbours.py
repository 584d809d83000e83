"""The short form of `python -m tests.neighbours`: a few attacks of each kind, and a victim who notices none of them."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.neighbours.bounds import table
from tests.neighbours.exchange import exchange, request
from tests.neighbours.kinds import KINDS, Kind
from tests.neighbours.neighbourhood import Neighbourhood, open_neighbourhood

WARM_SECONDS, QUIET_SECONDS, ATTACK_SECONDS = 2.0, 1.5, 3.0
SCALE = 0.3
ROUNDS = 3
"""On a machine that others use, a delay may be theirs: a bound is broken when it is exceeded in every round."""

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("neighbours")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def neighbourhood() -> AsyncIterator[Neighbourhood]:
    async with open_neighbourhood() as opened:
        await opened.victim.live(WARM_SECONDS)
        yield opened


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_victim_notices_no_attack(neighbourhood: Neighbourhood, kind: Kind) -> None:
    for _ in range(ROUNDS):
        measured = await neighbourhood.round(
            kind.short, seconds=ATTACK_SECONDS, quiet_seconds=QUIET_SECONDS, scale=SCALE
        )
        if not (exceeded := measured.exceeded()):
            break
    assert not exceeded, "\n".join([*exceeded, table([measured])])
    assert measured.answers.total() > 0, "the attackers did nothing"


@pytest.mark.parametrize(("path", "status"), [("/metrics", 404), ("/readyz", 200), ("/livez", 200)])
async def test_the_public_port_shows_nothing_of_a_tenant(neighbourhood: Neighbourhood, path: str, status: int) -> None:
    answer = await exchange(neighbourhood.address, request("GET", path))
    assert answer.status == status
    assert b"proj_" not in answer.body
    assert b"tunegate_" not in answer.body
