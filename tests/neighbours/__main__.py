"""`python -m tests.neighbours [KIND…]`: every attack at full tilt, alone, and the table of what a victim notices.

A name may also be an attack's. Exits with 1 if a bound is exceeded.
"""

import argparse
import asyncio
import sys

from tests.neighbours.bounds import Round, table
from tests.neighbours.kinds import KINDS
from tests.neighbours.neighbourhood import Attack, open_neighbourhood

WARM_SECONDS = 5.0


async def _run(attacks: list[Attack], *, seconds: float, quiet_seconds: float, scale: float) -> list[Round]:
    rounds: list[Round] = []
    async with open_neighbourhood() as neighbourhood:
        await neighbourhood.victim.live(WARM_SECONDS)
        for attack in attacks:
            measured = await neighbourhood.round([attack], seconds=seconds, quiet_seconds=quiet_seconds, scale=scale)
            rounds.append(measured)
            print(table([measured]).splitlines()[-1], flush=True)
            for sentence in measured.exceeded():
                print(f"  {sentence}", flush=True)
    return rounds


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.neighbours", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="KIND", help="kinds or single attacks; default: all")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each attack")
    parser.add_argument("--quiet-seconds", type=float, default=8.0, help="before and after each")
    parser.add_argument("--scale", type=float, default=1.0, help="of what an attacker does at a time")
    options = parser.parse_args()
    chosen = [
        attack
        for kind in KINDS
        for attack in kind.attacks
        if not options.names or kind.name in options.names or attack.__name__ in options.names
    ]
    if not chosen:
        parser.error(f"there is no kind and no attack with this name; kinds: {', '.join(kind.name for kind in KINDS)}")
    rounds = asyncio.run(
        _run(chosen, seconds=options.seconds, quiet_seconds=options.quiet_seconds, scale=options.scale)
    )
    print(table(rounds))
    sys.exit(any(each.exceeded() for each in rounds))


main()
