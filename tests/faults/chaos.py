"""`python -m tests.faults.chaos`: thousands of jobs, hundreds of faults, and the counts of failures.

Exits with 1 if anything is lost, doubled, adrift or crossed. `--seed` repeats a schedule: the faults, after which job
they come, their targets and what callers do are the same; how the processes interleave with them is the machine's.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2

from tests.faults.callers import Caller, CallLog
from tests.faults.fault_schedule import InjectedFault, inject_fault, schedule
from tests.faults.harness import LARGE, FaultHarness, open_fault_harness
from tests.faults.invariants import Verdict, check_invariants, left, undelivered, unended
from tests.faults.processes import wait_until

DRAIN_SECONDS = 400.0
PROBE_SECONDS = 0.2
ACCOUNT_SLOTS = 300
CALLERS = 48
"""How many of them wait for an answer at a time: more than one API process of two has connections for."""

CHECK_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of everything."""

    seed: int
    jobs: int
    faults: int
    projects: int = 4
    apis: int = 2
    workers: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run came to."""

    plan: Plan
    verdict: Verdict
    faults: Counter[str]
    statuses: Counter[int]
    unanswered: int
    defects: list[str]
    listed_wrongly: int
    drain_seconds: float
    silence_seconds: float
    took_seconds: float

    def forbidden(self) -> dict[str, int]:
        """What should be zero and is not."""
        found = self.verdict.forbidden()
        if self.listed_wrongly:
            found["listed_wrongly"] = self.listed_wrongly
        if defects := max(self.statuses[500], len(self.defects)):
            found["answers_500"] = defects
        return found

    def __str__(self) -> str:
        plan = self.plan
        answers = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        return "\n".join(
            [
                f"chaos: seed {plan.seed}, {plan.jobs:,} jobs of {plan.projects} projects, {plan.faults} faults, "
                f"{plan.apis} API processes, {plan.workers} workers, {self.took_seconds:.0f} s",
                self.verdict.table(),
                f"  rows of others in lists: {self.listed_wrongly} (must be 0)",
                f"  answers to callers: {answers}; without an answer: {self.unanswered:,}",
                f"  longest time without an answer of the API: {self.silence_seconds:.1f} s",
                f"  from the last fault until everything had ended and was delivered: {self.drain_seconds:.1f} s",
                "  faults: " + ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items())),
                *self.defects,
            ]
        )


async def run(plan: Plan, *, say: Callable[[str], None] = lambda _: None) -> Report:
    """Do it all. Raises `AssertionError` when the jobs do not end."""
    started = time.monotonic()
    async with open_fault_harness() as harness:
        for _ in range(plan.apis):
            harness.new_api().start()
        await harness.serving()
        for _ in range(plan.workers):
            harness.new_worker().start()
        call_log = CallLog()
        async with _callers(harness, call_log, plan.projects) as callers:
            await harness.execute("UPDATE upstream_accounts SET max_active_jobs = $1", ACCOUNT_SLOTS)
            say(f"seed {plan.seed}: {plan.jobs:,} jobs and {plan.faults} faults")
            faults = schedule(plan.seed, faults=plan.faults, lease_seconds=harness.settings.lease_seconds)
            silence: list[float] = []
            prober = asyncio.create_task(_probe(harness, silence))
            share = Share(plan.jobs)
            submitting = asyncio.create_task(_submit(plan, callers, share))
            await _inject_all(harness, faults, share, say)
            calm = time.monotonic()
            await submitting
            await drained(harness)
            drain_seconds = time.monotonic() - calm
            prober.cancel()
            verdict = await check_invariants(harness, call_log.accepted, once=call_log.once)
            listed_wrongly = await _listed_wrongly(harness, callers)
        return Report(
            plan=plan,
            verdict=verdict,
            faults=Counter(fault.kind for fault in faults),
            statuses=call_log.statuses,
            unanswered=call_log.unanswered,
            defects=harness.defects(),
            listed_wrongly=listed_wrongly,
            drain_seconds=drain_seconds,
            silence_seconds=max(silence, default=0.0),
            took_seconds=time.monotonic() - started,
        )


@asynccontextmanager
async def _callers(harness: FaultHarness, call_log: CallLog, projects: int) -> AsyncIterator[list[Caller]]:
    callers = [Caller(harness, await harness.new_tenant(str(index)), call_log) for index in range(projects)]
    try:
        await asyncio.gather(*(caller.new_file(f"base{n}") for caller in callers for n in range(2)))
        yield callers
    finally:
        for caller in callers:
            await caller.close()


@dataclass(slots=True)
class Share:
    """How far the callers are."""

    jobs: int
    asked: int = 0

    async def reached(self, share: float) -> None:
        """Wait until so much of the jobs has been asked for."""
        while self.asked < share * self.jobs:
            await asyncio.sleep(CHECK_SECONDS)


async def _submit(plan: Plan, callers: list[Caller], share: Share) -> None:
    chance = random.Random(plan.seed + 1)
    free = asyncio.Semaphore(CALLERS)

    async def ask(number: int, caller: Caller, own: random.Random) -> None:
        async with free:
            await caller.submit(number, own)
        share.asked += 1

    await asyncio.gather(
        *(ask(number, chance.choice(callers), random.Random(chance.randrange(LARGE))) for number in range(plan.jobs))
    )


async def _inject_all(
    harness: FaultHarness, faults: list[InjectedFault], share: Share, say: Callable[[str], None]
) -> None:
    under_way, begun = [], time.monotonic()
    for number, fault in enumerate(faults, start=1):
        await share.reached(fault.at_share)
        under_way.append(asyncio.create_task(inject_fault(harness, fault)))
        if number % 50 == 0:
            say(f"{time.monotonic() - begun:4.0f} s: {share.asked:,} jobs, {number} faults")
    await asyncio.gather(*under_way)


async def drained(harness: FaultHarness, within_seconds: float = DRAIN_SECONDS) -> None:
    """Wait until every job has ended and every event is delivered. Raises `AssertionError` that says what is left."""

    async def all_done() -> bool:
        return await unended(harness) == 0 and await undelivered(harness) == 0

    try:
        await wait_until(all_done, within_seconds, "")
    except AssertionError:
        logs = "\n".join(each.output(15) for each in harness.workers)
        raise AssertionError(f"not everything has ended:\n{await left(harness)}\n{logs}") from None


async def _probe(harness: FaultHarness, silence: list[float]) -> None:
    """Note how long the API goes without an answer that serves."""
    last = time.monotonic()
    headers = {"authorization": f"Bearer {harness.tenants[0].key}"}
    async with httpx2.AsyncClient(base_url=harness.base_url, headers=headers, timeout=5) as http:
        while True:
            with contextlib.suppress(httpx2.TransportError):
                if (await http.get("/fine_tuning/jobs?limit=1")).status_code == 200:
                    silence.append(time.monotonic() - last)
                    last = time.monotonic()
            await asyncio.sleep(PROBE_SECONDS)


async def _listed_wrongly(harness: FaultHarness, callers: list[Caller]) -> int:
    wrong = 0
    for tenant, caller in zip(harness.tenants, callers, strict=True):
        own = {row["id"] for row in await harness.fetch("SELECT id FROM jobs WHERE project_id = $1", tenant.project_id)}
        wrong += len(own ^ await caller.listed())
    return wrong


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time; it is printed")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--faults", type=int, default=520)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    plan = Plan(seed=seed, jobs=options.jobs, faults=options.faults)
    report = asyncio.run(run(plan, say=lambda line: print(line, flush=True)))
    print(report)
    if forbidden := report.forbidden():
        print(f"FORBIDDEN: {forbidden}; again with --seed {seed}")
        sys.exit(1)
    print(f"lost 0, doubled 0, drift 0, events lost 0, crossings 0; repeat with --seed {seed}")


if __name__ == "__main__":
    main()
