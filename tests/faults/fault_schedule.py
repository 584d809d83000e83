"""The faults of a chaos run: what each does to which process, and their schedule, which the seed alone decides."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import redis.asyncio
from redis.exceptions import RedisError

from tests.faults.control import CANCEL, CONTENT, CREATE, EVENTS, LIST, NO_JOBS, RETRIEVE, UPLOAD, error
from tests.faults.harness import FaultHarness
from tests.faults.processes import Forked, Process
from tests.faults.receiver import ERRORS

SOON = {"retry-after": "1"}
HTML = {"status": 200, "body": "<html>not JSON</html>"}


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """One fault: after which share of the jobs, of which kind, to which of several, and for how long."""

    at_share: float
    kind: str
    target: int
    seconds: float


def _upstream(match: str, answer: object, *, made: bool = False, late: float = 0.0) -> "Act":
    async def act(harness: FaultHarness, fault: InjectedFault) -> None:
        await asyncio.to_thread(harness.upstream.fault, match, answer, made=made, late=late)

    return act


def _receiver(name: str) -> "Act":
    async def act(harness: FaultHarness, fault: InjectedFault) -> None:
        harness.receiver.errors.append(name)

    return act


def _kill(whom: Callable[[FaultHarness], Sequence[Process | Forked]], number: signal.Signals) -> "Act":
    async def act(harness: FaultHarness, fault: InjectedFault) -> None:
        several = whom(harness)
        process = several[fault.target % len(several)]
        async with turn(process):
            process.signal(number)
            await process.ended()
            await asyncio.sleep(fault.seconds / 4)
            process.start()
            await process.ready()

    return act


def _stop(whom: Callable[[FaultHarness], Sequence[Process | Forked]]) -> "Act":
    async def act(harness: FaultHarness, fault: InjectedFault) -> None:
        several = whom(harness)
        process = several[fault.target % len(several)]
        async with turn(process):
            process.signal(signal.SIGSTOP)
            await asyncio.sleep(fault.seconds)
            process.signal(signal.SIGCONT)

    return act


async def _kill_all_workers(harness: FaultHarness, fault: InjectedFault) -> None:
    await asyncio.gather(
        *(
            _kill(lambda harness: harness.workers, signal.SIGKILL)(harness, _to(fault, n))
            for n in range(len(harness.workers))
        )
    )


async def _flush(harness: FaultHarness, fault: InjectedFault) -> None:
    try:
        async with redis.asyncio.Redis.from_url(harness.settings.redis_url, socket_timeout=2) as connection:
            await connection.flushall()
    except (RedisError, OSError):
        return  # unavailable, which has the effect of a flush


async def _upstream_away(harness: FaultHarness, fault: InjectedFault) -> None:
    async with turn(harness.upstream):
        await asyncio.to_thread(harness.upstream.listen, on=False)
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(harness.upstream.listen, on=True)


Act = Callable[[FaultHarness, InjectedFault], Awaitable[None]]

KINDS: Mapping[str, tuple[int, Act]] = {
    "kill worker": (40, _kill(lambda harness: harness.workers, signal.SIGKILL)),
    "kill all workers": (4, _kill_all_workers),
    "kill API": (28, _kill(lambda harness: harness.apis, signal.SIGKILL)),
    "kill Postgres": (10, _kill(lambda harness: [harness.postgres], signal.SIGKILL)),
    "kill Redis": (14, _kill(lambda harness: [harness.redis], signal.SIGKILL)),
    "end worker": (8, _kill(lambda harness: harness.workers, signal.SIGTERM)),
    "end API": (8, _kill(lambda harness: harness.apis, signal.SIGTERM)),
    "stop worker beyond its lease": (14, _stop(lambda harness: harness.workers)),
    "stop API": (8, _stop(lambda harness: harness.apis)),
    "stop Redis": (8, _stop(lambda harness: [harness.redis])),
    "flush Redis": (26, _flush),
    "upstream away": (10, _upstream_away),
    "create: made, then reset": (36, _upstream(CREATE, "reset", made=True)),
    "create: reset": (12, _upstream(CREATE, "reset")),
    "create: made, then silence": (12, _upstream(CREATE, "hang", made=True)),
    "create: made after the time-out": (10, _upstream(CREATE, None, late=2.4)),
    "create: made, then 500": (14, _upstream(CREATE, error(500), made=True)),
    "create: made, then HTML": (10, _upstream(CREATE, HTML, made=True)),
    "create: made, then cut": (10, _upstream(CREATE, "cut", made=True)),
    "create: 500": (10, _upstream(CREATE, error(500))),
    "create: 429": (10, _upstream(CREATE, error(429, code="rate_limit_exceeded", headers=SOON))),
    "create: no quota": (5, _upstream(CREATE, error(429, code="insufficient_quota", headers=SOON))),
    "create: 401": (4, _upstream(CREATE, error(401, code="invalid_api_key", headers=SOON))),
    "list: 500": (8, _upstream(LIST, error(500))),
    "list: reset": (8, _upstream(LIST, "reset")),
    "list: empty, a lie": (8, _upstream(LIST, NO_JOBS)),
    "retrieve: 500": (12, _upstream(RETRIEVE, error(500))),
    "retrieve: reset": (10, _upstream(RETRIEVE, "reset")),
    "retrieve: silence": (8, _upstream(RETRIEVE, "hang")),
    "retrieve: HTML": (8, _upstream(RETRIEVE, HTML)),
    "retrieve: 404": (8, _upstream(RETRIEVE, error(404))),
    "events: 500": (8, _upstream(EVENTS, error(500))),
    "cancel: reset": (4, _upstream(CANCEL, "reset", made=True)),
    "results: cut": (10, _upstream(CONTENT, "cut")),
    "results: 500": (8, _upstream(CONTENT, error(500))),
    "file: made, then reset": (14, _upstream(UPLOAD, "reset", made=True)),
    "file: made, then 500": (8, _upstream(UPLOAD, error(500), made=True)),
    "file: reset": (8, _upstream(UPLOAD, "reset")),
    **{f"receiver: {name}": (10, _receiver(name)) for name in ERRORS},
}
"""Every kind of fault, how often beside the others, and how it is done."""


def schedule(seed: int, *, faults: int, lease_seconds: float) -> list[InjectedFault]:
    """The faults in their order: each kind once as far as there is room, the rest drawn by weight. Pure."""
    chance = random.Random(seed)
    names, weights = list(KINDS), [weight for weight, _ in KINDS.values()]
    kinds = chance.sample(names, k=len(names))[:faults]
    kinds += chance.choices(names, weights, k=faults - len(kinds))
    drawn = []
    for kind in kinds:
        length = lease_seconds * 1.5 if "lease" in kind else chance.uniform(0.3, 2.0)
        drawn.append(InjectedFault(chance.uniform(0.01, 0.99), kind, chance.randrange(12), length))
    return sorted(drawn, key=lambda fault: fault.at_share)


async def inject_fault(harness: FaultHarness, fault: InjectedFault) -> None:
    """Do it."""
    await KINDS[fault.kind][1](harness, fault)


_locks: dict[int, asyncio.Lock] = {}


def turn(of: object) -> asyncio.Lock:
    """Serialises the faults of one process."""
    return _locks.setdefault(id(of), asyncio.Lock())


def _to(fault: InjectedFault, target: int) -> InjectedFault:
    return InjectedFault(fault.at_share, fault.kind, target, fault.seconds)
