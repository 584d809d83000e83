"""A deployment with the production limits, a victim, and rounds in which an attacker does its worst beside it."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from time import perf_counter

import httpx2

from cli.embedded import free_port
from service.identity.bootstrap import create_key
from service.identity.keys import fingerprint, new_key
from service.settings import Settings
from tests.faults.fork_server import NAME_SERVER
from tests.faults.harness import FaultHarness, open_fault_harness
from tests.neighbours.attacker import Attacker
from tests.neighbours.bounds import MAX_LEFT_MB, Round, growth_of
from tests.neighbours.counterparts import Counterparts
from tests.neighbours.exchange import Address, json_request
from tests.neighbours.memory import connections_to, peaks_of, resident_mb
from tests.neighbours.victim import Victim
from tests.wire import make_tenant

Attack = Callable[[Attacker], Awaitable[None]]

FRESH_KEYS = 400
START_SECONDS = 60.0
CALM_SECONDS = 60.0
"""How long after an attack things may take to be as before."""

UNLIMITED = """
    INSERT INTO rate_limits (project_id, model, max_requests_per_1_minute) VALUES ($1, '*', 1000000)
"""
"""The victim's operations are measured, not limited."""

MORE_KEYS = """
    INSERT INTO api_keys (id, project_id, kind, name, sha256, hint)
    SELECT 'key_fresh' || number, $1, 'project', 'fresh', sha256, ''
    FROM unnest($2::bytea[]) WITH ORDINALITY AS fresh (sha256, number)
"""

QUEUES = ("file_reports", "dataset_preparations", "webhook_deliveries")
"""Leased work that goes on after its project is archived."""

METRICS_PORT = "TUNEGATE_METRICS_PORT"
LEASED_TABLES = "SELECT table_name FROM information_schema.columns WHERE column_name = 'leased_until' ORDER BY 1"


@dataclass(slots=True)
class Neighbourhood:
    """The running deployment."""

    harness: FaultHarness
    victim: Victim
    admin_key: str
    internal_addresses: tuple[Address, ...]

    @property
    def address(self) -> Address:
        """Where the API listens."""
        return "127.0.0.1", self.harness.listener.getsockname()[1]

    async def round(self, attacks: Sequence[Attack], *, seconds: float, quiet_seconds: float, scale: float) -> Round:
        """Measure before, during and after attacks that go on at the same time."""
        pids = {"api": self.harness.apis[0].pid, "worker": self.harness.workers[0].pid}
        async with peaks_of(pids) as quiet_peaks:
            quiet = await self.victim.live(quiet_seconds)
        before = {name: resident_mb(pid) for name, pid in pids.items()}
        with _counterparts() as counterparts:
            attackers = [await self._attacker(counterparts, scale) for _ in attacks]
            async with peaks_of(pids) as attacked_peaks, _under_attack(attacks, attackers):
                attacked = await self.victim.live(seconds)
            for attacker in attackers:
                await self._end_projects(attacker)
        left = await self._left(pids, before)
        after = await self.victim.live(quiet_seconds)
        return Round(
            attack=" + ".join(map(label_of, attacks)),
            quiet=quiet,
            attacked=attacked,
            after=after,
            growth=growth_of(quiet_peaks, attacked_peaks),
            answers=sum((attacker.answers for attacker in attackers), Counter()),
            left=left,
        )

    async def _attacker(self, counterparts: Counterparts, scale: float) -> Attacker:
        tenants = [await make_tenant(self.harness.base_url, self.harness.settings.database_url) for _ in range(2)]
        return Attacker(
            address=self.address,
            internal_addresses=self.internal_addresses,
            keys=[tenant.key for tenant in tenants],
            project_ids=[tenant.project_id for tenant in tenants],
            counterparts=counterparts,
            scale=scale,
        )

    async def _end_projects(self, attacker: Attacker) -> None:
        """Archive the attacker's projects, which ends jobs and runs, and drop what else they have queued."""
        for project_id in attacker.project_ids:
            path = f"/v1/organization/projects/{project_id}/archive"
            prepared, deadline = json_request(path, {}, key=self.admin_key), perf_counter() + CALM_SECONDS
            while (answer := await attacker.send(prepared)).status != 200:
                assert perf_counter() < deadline, answer
                await asyncio.sleep(0.5)
        for table in QUEUES:
            await self.harness.execute(
                f"UPDATE {table} SET due_at = NULL WHERE project_id = ANY($1) AND leased_until IS NULL",
                attacker.project_ids,
            )

    async def _left(self, pids: dict[str, int], before: dict[str, int]) -> list[str]:
        """What is not as before, once it is or the time is over."""
        deadline = perf_counter() + CALM_SECONDS
        while (found := await self._not_as_before(pids, before)) and perf_counter() < deadline:
            await asyncio.sleep(0.2)
        return found

    async def _not_as_before(self, pids: dict[str, int], before: dict[str, int]) -> list[str]:
        found = []
        if connections := connections_to(self.address[1]):
            found.append(f"{connections} connections are open")
        for row in await self.harness.fetch(LEASED_TABLES):
            leased = await self.harness.fetch(f"SELECT count(*) FROM {row[0]} WHERE leased_until > now()")
            if leased[0][0]:
                found.append(f"{leased[0][0]} rows of {row[0]} are leased")
        for name, pid in pids.items():
            if (grown := resident_mb(pid) - before[name]) > MAX_LEFT_MB:
                found.append(f"{name} still occupies {grown} MB more")
        async with httpx2.AsyncClient(timeout=30) as http:
            ready = (await http.get(f"{self.harness.root_url}/readyz")).json()
        if ready["status"] != "ok":
            found.append(f"/readyz says {ready}")
        return found


def label_of(attack: Attack) -> str:
    """Such as "keys: bad keys"."""
    kind = attack.__module__.rpartition(".")[2]
    return f"{kind}: {attack.__name__.replace('_', ' ')}"


@asynccontextmanager
async def open_neighbourhood() -> AsyncIterator[Neighbourhood]:
    """Open one, with an API, a worker, and the limits and timeouts of production."""
    production = {
        name: getattr(Settings(), name)
        for name in (
            "lease_seconds",
            "reconcile_seconds",
            "upstream_timeout_seconds",
            "webhook_timeout_seconds",
            "webhook_schedule_seconds",
            "database_pool_size",
        )
    }
    async with open_fault_harness(**production, upstream_allow_private=True) as harness:
        with _counterparts() as counterparts, _silent_name_server() as port:
            internal = free_port(), free_port()
            harness.new_api().start({METRICS_PORT: str(internal[0])})
            await harness.serving()
            harness.new_worker().start({METRICS_PORT: str(internal[1]), NAME_SERVER: str(port)})
            await harness.all_well()
            admin_key = await create_key(harness.settings, kind="admin", name="neighbours")
            victim = await _victim(harness, counterparts)
            yield Neighbourhood(harness, victim, admin_key, tuple(("127.0.0.1", each) for each in internal))


async def _victim(harness: FaultHarness, counterparts: Counterparts) -> Victim:
    tenant = await make_tenant(harness.base_url, harness.settings.database_url)
    fresh = [new_key("project") for _ in range(FRESH_KEYS)]
    await harness.execute(UNLIMITED, tenant.project_id)
    await harness.execute(MORE_KEYS, tenant.project_id, [fingerprint(key) for key in fresh])
    address = "127.0.0.1", harness.listener.getsockname()[1]
    victim = Victim(address, harness.receiver, [tenant.key, *fresh])
    await victim.prepare(counterparts.upstream("answers"))
    return victim


@asynccontextmanager
async def _under_attack(attacks: Sequence[Attack], attackers: Sequence[Attacker]) -> AsyncIterator[None]:
    """Begin the attacks, wait until they are under way, and end them with the block."""
    running = [asyncio.ensure_future(attack(who)) for attack, who in zip(attacks, attackers, strict=True)]
    try:
        begun = [asyncio.ensure_future(attacker.under_way.wait()) for attacker in attackers]
        async with asyncio.timeout(START_SECONDS):
            for attack, started in zip(running, begun, strict=True):
                await asyncio.wait([attack, started], return_when=asyncio.FIRST_COMPLETED)
                if attack.done():
                    attack.result()
        yield
        for attack in running:
            if attack.done():
                attack.result()
    finally:
        for attack in running:
            attack.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@contextmanager
def _counterparts() -> Iterator[Counterparts]:
    started = Counterparts()
    try:
        yield started
    finally:
        started.stop()


@contextmanager
def _silent_name_server() -> Iterator[int]:
    """The port of a name server that answers no question."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as served:
        served.bind(("127.0.0.1", 0))
        yield served.getsockname()[1]
