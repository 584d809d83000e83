"""`python -m tests.faults.kill_matrix`: kill −9 at every fault point, many times each, and count the failures.

For each point there is a situation that brings a process past it. The process kills itself there; the next one takes
over, once the leases of the dead have ended (they are ended here, so that a run need not wait for them). At the end of
each point everything has to come to its end, once.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import groupby

import openai

from cli.supervisor import log_tail
from service.database.tables import Base
from service.fault_points import POINTS
from service.settings import Settings
from tests.faults.control import CREATE
from tests.faults.fork_server import ForkedProcess, fork_server
from tests.faults.harness import FaultHarness, open_fault_harness
from tests.faults.invariants import Verdict, check_invariants, left, undelivered, unended
from tests.faults.processes import environment, wait_until
from tests.wire import MODEL, Tenant, chat_rows, jsonl

REACH_SECONDS = 120.0
DRAIN_SECONDS = 300.0
AT_A_TIME = 2
"""Steps of jobs that a life which is to die runs beside each other. One that dies in one of them may have brought the
others past the point, so there is work for so many a kill."""

BESIDE = 2
"""Matrices, each with a stack of its own, that share the points of a full run."""

LEASED = tuple(table.name for table in Base.metadata.sorted_tables if "leased_until" in table.columns)
COUNTED = ("file_reports", "dataset_preparations", "leakage_reports")
"""Work that is given up after five attempts, in which its data may have brought the worker down."""

OTHER_WORK = """
    SELECT (SELECT count(*) FROM dataset_preparations WHERE finished_at IS NULL)
        + (SELECT count(*) FROM leakage_reports WHERE status <> 'ready') + (SELECT count(*) FROM open_inferences)
        + (SELECT count(*) FROM deletions WHERE due_at IS NOT NULL)
"""
"""What has to come to its end beside jobs and deliveries."""

STEPS = [{"status": "running"}, {"status": "succeeded"}]

ELSEWHERE: Mapping[str, str] = {
    "prepare.working": "tests/datasets/preparation/test_worker.py",
    "leakage.working": "tests/datasets/test_leakage_reports.py",
    "run.begun": "tests/runs/test_kills.py",
    "run.reserved": "tests/runs/test_kills.py",
    "run.answered": "tests/runs/test_kills.py",
    "run.recorded": "tests/runs/test_kills.py",
    "run.given_back": "tests/runs/test_kills.py",
    "run.announced": "tests/runs/test_kills.py",
    "run.stored": "tests/runs/test_kills.py",
    "run.ended": "tests/runs/test_kills.py",
    "run.graded": "tests/runs/comparisons/test_kills.py",
    "deployment.begun": "tests/runs/comparisons/test_kills.py",
    "deployment.decided": "tests/runs/comparisons/test_kills.py",
    "experiment.share_announced": "tests/experiments/test_kills.py",
    "experiment.share_stored": "tests/experiments/test_kills.py",
    "experiment.share_recorded": "tests/experiments/test_kills.py",
    "experiment.arm_created": "tests/experiments/test_kills.py",
    "experiment.arm_committed": "tests/experiments/test_kills.py",
    "experiment.arm_stopped": "tests/experiments/test_kills.py",
    "experiment.compared": "tests/experiments/test_kills.py",
    "experiment.cancelled": "tests/experiments/test_kills.py",
    "experiment.ended": "tests/experiments/test_kills.py",
    "upload.joined": "tests/datasets/uploads/test_races.py",
    "settle.deployed": "tests/workers/test_deploys.py",
    "schedule.admitted": "tests/workers/test_queue.py",
    "account_poll.listed": "tests/workers/test_account_poll_safety.py",
    "account_poll.recorded": "tests/workers/test_account_poll_safety.py",
    "project.stopped": "tests/deletions/test_projects.py",
    "project.released_some": "tests/deletions/test_projects.py",
    "project.objects_deleted": "tests/deletions/test_projects.py",
    "project.emptied_some": "tests/deletions/test_projects.py",
    "project.rows_deleted": "tests/deletions/test_projects.py",
    "project.redacted_some": "tests/deletions/test_projects.py",
    "project.ended": "tests/deletions/test_projects.py",
    "deletion.upstream_answered": "tests/deletions/test_projects.py",
}
"""Points at which other tests kill, since it takes more than a job to come by; a test looks that they do."""


@dataclass(slots=True)
class Matrix:
    """A site whose API and workers are forked lives."""

    harness: FaultHarness
    started: list[ForkedProcess]
    tenant: Tenant
    sdk: openai.AsyncOpenAI
    api: ForkedProcess
    base_file: str = ""
    accepted: dict[str, str] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    orphans: set[str] = field(default_factory=set)
    waiting: list["asyncio.Task[None]"] = field(default_factory=list)

    def worker(self, point: str = "") -> ForkedProcess:
        """A worker, which kills itself at the point."""
        settings = self.harness.settings
        if point:
            settings = dataclasses.replace(settings, worker_concurrency=AT_A_TIME)
        return _start(self.harness, self.started, "worker", settings, point)

    def new_api(self, point: str = "") -> None:
        """Another API in the place of the one that is there, whose socket it has."""
        self.api.kill()
        self.api = _start(self.harness, self.started, "api", self.harness.settings, point)

    async def new_file(self) -> str:
        """A dataset that no other is like."""
        content = jsonl(chat_rows(10, salt=secrets.token_hex(4)))
        file_id = (await self.sdk.files.create(file=("data.jsonl", content), purpose="fine-tune")).id
        self.files.add(file_id)
        return file_id

    async def new_job(self, file_id: str | None = None) -> str:
        """A job, on the base file unless another one is given."""
        label = secrets.token_hex(6)
        self.labels.add(label)
        job = await self.sdk.fine_tuning.jobs.create(
            model=MODEL, training_file=file_id or self.base_file, metadata={"mark": label}
        )
        self.accepted[job.id] = self.tenant.project_id
        return job.id

    async def end_leases(self) -> None:
        """Let the leases of the dead be over, and their attempts at CPU work not count: it is not the data's doing."""
        for table in LEASED:
            await self.harness.execute(
                f"UPDATE {table} SET leased_until = now() - interval '1 s' WHERE leased_until > now()"
            )
        for table in COUNTED:
            await self.harness.execute(f"UPDATE {table} SET failures = 0 WHERE due_at IS NOT NULL")

    async def by_a_worker(self, done: Callable[[], Awaitable[bool]], about: str) -> None:
        """Let a worker that nothing kills work until it is done."""
        await self.end_leases()
        worker = self.worker()
        try:
            await wait_until(done, DRAIN_SECONDS, "")
        except AssertionError:
            log = log_tail(self.harness.folder / "worker.log", 40)
            raise AssertionError(f"{about}:\n{await left(self.harness)}\n{log}") from None
        finally:
            worker.kill()

    async def ended(self) -> bool:
        """Whether every job has ended."""
        return await unended(self.harness) == 0

    async def drain(self) -> None:
        """Let everything come to its end."""
        await asyncio.gather(*self.waiting)
        self.waiting.clear()

        await self.harness.execute("UPDATE open_inferences SET expires_at = now()")

        async def all_done() -> bool:
            running = [each for each in self.harness.upstream.jobs() if each["id"] in self.orphans]
            others = await self.harness.fetch(OTHER_WORK)
            return await unended(self.harness) + await undelivered(self.harness) + int(others[0][0]) == 0 and all(
                each["status"] == "cancelled" for each in running
            )

        await self.by_a_worker(all_done, "not everything ends")

    async def check_invariants(self) -> tuple[Verdict, dict[str, int]]:
        """What came of everything so far, and what is forbidden in it."""
        verdict = await check_invariants(self.harness, self.accepted, once=self.labels, placed=self.orphans)
        found = verdict.forbidden()
        rows = await self.harness.fetch("SELECT count(*) FROM dataset_preparations WHERE status <> 'succeeded'")
        files = await self.harness.fetch("SELECT count(*) FROM files WHERE filename = 'data.jsonl'")
        if rows[0][0]:
            found["preparations_lost"] = int(rows[0][0])
        if files[0][0] != len(self.files):
            found["files_lost_or_doubled"] = abs(int(files[0][0]) - len(self.files))
        return verdict, found


Provoke = Callable[[Matrix, int], Awaitable[None]]


async def jobs(matrix: Matrix, times: int) -> None:
    """Jobs that go their way."""
    await asyncio.gather(*(matrix.new_job() for _ in range(times)))


async def fresh_jobs(matrix: Matrix, times: int) -> None:
    """Jobs on files that are to be checked and sent first."""
    files = await asyncio.gather(*(matrix.new_file() for _ in range(times)))
    await asyncio.gather(*(matrix.new_job(file_id) for file_id in files))


async def unsent_jobs(matrix: Matrix, times: int) -> None:
    """Jobs whose files are checked and not upstream, because the upstream was unavailable."""
    matrix.harness.upstream.listen(on=False)
    await fresh_jobs(matrix, times)

    async def waiting_to_send() -> bool:
        rows = await matrix.harness.fetch("SELECT count(*) FROM jobs WHERE state = 'uploading'")
        return int(rows[0][0]) >= times

    await matrix.by_a_worker(waiting_to_send, "the files are not checked")
    matrix.harness.upstream.listen(on=True)
    await matrix.harness.execute("UPDATE jobs SET due_at = now() WHERE state = 'uploading'")


async def unanswered_creates(matrix: Matrix, times: int) -> None:
    """Creates that make their job and whose answer is lost."""
    matrix.harness.upstream.fault(CREATE, "reset", times=times, made=True)
    await jobs(matrix, times)


async def lost_creates(matrix: Matrix, times: int) -> None:
    """Creates that are lost on the way there."""
    matrix.harness.upstream.fault(CREATE, "reset", times=times)
    await jobs(matrix, times)


async def pending_requests(matrix: Matrix, times: int) -> None:
    """Running jobs whose caller wants them cancelled. No others: an upstream job made meanwhile would run for ever."""
    if not await matrix.ended():
        await matrix.by_a_worker(matrix.ended, "the jobs before do not end")
    matrix.harness.upstream.steps("running")
    made = await asyncio.gather(*(matrix.new_job() for _ in range(times)))

    async def all_running() -> bool:
        rows = await matrix.harness.fetch("SELECT count(*) FROM jobs WHERE id = ANY($1) AND state = 'running'", made)
        return int(rows[0][0]) == times

    await matrix.by_a_worker(all_running, "the jobs do not run")
    matrix.harness.upstream.configure(steps=STEPS)
    for job_id in made:
        await matrix.sdk.fine_tuning.jobs.cancel(job_id)


async def pending_requests_of_waiting_jobs(matrix: Matrix, times: int) -> None:
    """Jobs that wait for a slot and whose caller wants them cancelled."""
    await matrix.harness.execute(
        "UPDATE upstream_accounts SET held_until = now() + interval '1 h', held_reason = 'a test'"
    )
    made = await asyncio.gather(*(matrix.new_job() for _ in range(times)))

    async def all_wait() -> bool:
        rows = await matrix.harness.fetch("SELECT count(*) FROM jobs WHERE id = ANY($1) AND state = 'waiting'", made)
        return int(rows[0][0]) == times

    await matrix.by_a_worker(all_wait, "the jobs do not wait")
    for job_id in made:
        await matrix.sdk.fine_tuning.jobs.cancel(job_id)
    await matrix.harness.execute("UPDATE upstream_accounts SET held_until = NULL, held_reason = NULL")


async def orphan_jobs(matrix: Matrix, times: int) -> None:
    """Orphaned upstream jobs: with this gateway's labels, and of no job."""
    job_id = await matrix.new_job()

    await matrix.by_a_worker(matrix.ended, "the job does not end")
    own = matrix.harness.upstream.jobs(job_id)[0]
    matrix.harness.upstream.configure(terse=False)
    for _ in range(times):
        orphan = f"ftjob-stray{secrets.token_hex(4)}"
        matrix.orphans.add(orphan)
        matrix.harness.upstream.put_job(
            id=orphan, model=own["model"], metadata=own["metadata"], _steps=[{"status": "running"}], status="running"
        )
    matrix.harness.upstream.configure(terse=True)


async def orphans(matrix: Matrix, times: int) -> None:
    """Objects that a crash has left a day ago."""
    for _ in range(times):
        await matrix.harness.execute(
            "INSERT INTO pending_uploads (storage_key, project_id, created_at) VALUES ($1, $2, now() - interval '2 d')",
            f"{matrix.tenant.project_id}/orphan-{secrets.token_hex(6)}",
            matrix.tenant.project_id,
        )


async def preparations(matrix: Matrix, times: int) -> None:
    """Datasets to be prepared."""
    for _ in range(times):
        await matrix.sdk.post("/dataset_preparations", body={"file": matrix.base_file}, cast_to=object)


async def comparisons(matrix: Matrix, times: int) -> None:
    """Pairs of files to be compared."""
    for _ in range(times):
        other = await matrix.new_file()
        path = f"/files/{matrix.base_file}/report?validation_file={other}"
        await matrix.sdk.get(path, cast_to=object)


async def deleted_files(matrix: Matrix, times: int) -> None:
    """Files that were sent upstream and are deleted now."""
    files = await asyncio.gather(*(matrix.new_file() for _ in range(times)))
    await asyncio.gather(*(matrix.new_job(file_id) for file_id in files))

    await matrix.by_a_worker(matrix.ended, "the jobs do not end")
    for file_id in files:
        await matrix.sdk.files.delete(file_id)


async def asked_for_a_file(matrix: Matrix, times: int) -> None:
    """A caller uploads; its SDK tries again when the API dies."""
    matrix.waiting.append(asyncio.create_task(_ignoring_result(matrix.new_file())))


async def asked_for_a_job(matrix: Matrix, times: int) -> None:
    """A caller wants a job; its SDK tries again when the API dies."""
    matrix.waiting.append(asyncio.create_task(_ignoring_result(matrix.new_job())))


async def asked_for_an_answer(matrix: Matrix, times: int) -> None:
    """A caller asks a tuned model; the upstream has none of that, so only what was reserved matters."""
    rows = await matrix.harness.fetch("SELECT name FROM models LIMIT 1")

    async def ask() -> None:
        with contextlib.suppress(openai.APIError):
            await matrix.sdk.chat.completions.create(
                model=rows[0][0], messages=[{"role": "user", "content": "Well?"}], max_tokens=5
            )

    matrix.waiting.append(asyncio.create_task(ask()))


async def _ignoring_result(asked: Awaitable[object]) -> None:
    await asked


OF_THE_API: Mapping[str, Provoke] = {
    "file.announced": asked_for_a_file,
    "file.stored": asked_for_a_file,
    "request.committed": asked_for_a_job,
    "inference.booked": asked_for_an_answer,
}

OF_WORKERS: Sequence[tuple[str, Provoke]] = (
    ("report.", fresh_jobs),
    ("prepare.", preparations),
    ("leakage.", comparisons),
    ("upload.", unsent_jobs),
    ("create.given_back", unanswered_creates),
    ("create.searched", unanswered_creates),
    ("create.found_nothing", lost_creates),
    ("create.found", unanswered_creates),
    ("poll.request_sent", pending_requests),
    ("orphan.", orphan_jobs),
    ("storage_cleanup.", orphans),
    ("deletion.", deleted_files),
    ("wait.committed", pending_requests_of_waiting_jobs),
    ("validate.", jobs),
    ("schedule.", jobs),
    ("create.", jobs),
    ("poll.", jobs),
    ("settle.", jobs),
    ("deliver.", jobs),
)
"""What brings a worker past the points that begin so; the first that fits."""


def situation(point: str) -> Provoke | None:
    """What brings a process past a point, or None for one that other tests see to."""
    if point in ELSEWHERE:
        return None
    if point in OF_THE_API:
        return OF_THE_API[point]
    return next((provoke for prefix, provoke in OF_WORKERS if point.startswith(prefix)), None)


@asynccontextmanager
async def open_matrix() -> AsyncIterator[Matrix]:
    """A site with an API and a checked dataset."""
    async with open_fault_harness(
        poll_seconds=0.5,
        lease_seconds=12.0,
        upstream_timeout_seconds=7.0,
        reconcile_seconds=0.2,
        settle_seconds=0.3,
        redis_url="",
    ) as harness:
        harness.upstream.configure(steps=STEPS)
        started: list[ForkedProcess] = []
        try:
            api = _start(harness, started, "api", harness.settings)
            await harness.serving()
            tenant = await harness.new_tenant("0")
            sdk = openai.AsyncOpenAI(base_url=harness.base_url, api_key=tenant.key, max_retries=8, timeout=60)
            matrix = Matrix(harness, started, tenant, sdk, api)
            matrix.base_file = await matrix.new_file()
            await matrix.new_job()
            await matrix.drain()
            yield matrix
        finally:
            for each in started:
                each.kill()


def _start(
    harness: FaultHarness, started: list[ForkedProcess], role: str, settings: Settings, point: str = ""
) -> ForkedProcess:
    variables = environment(settings) | {"TUNEGATE_FAULT_POINT": point}
    listener = harness.listener.fileno() if role == "api" else None
    started.append(
        fork_server().start(role, variables, harness.folder / f"{role}.log", listener=listener, hurried=True)
    )
    return started[-1]


async def kill_at(matrix: Matrix, points: Sequence[str], times: int = 1) -> int:
    """Kill so many times at each of the points, all of one situation. Returns how often it came to that."""
    provoke, kills = situation(points[0]), 0
    if provoke is None:
        raise ValueError(f"{points[0]} has no situation")
    armed = [point for point in points for _ in range(times)]
    if points[0] in OF_THE_API:
        for point in armed:
            matrix.new_api(point)
            await provoke(matrix, 1)
            kills += await matrix.api.dead(REACH_SECONDS)
            matrix.new_api()
            await asyncio.gather(*matrix.waiting)
            matrix.waiting.clear()
        return kills
    await provoke(matrix, AT_A_TIME * len(armed))
    for point in armed:
        await matrix.end_leases()
        life = matrix.worker(point)
        kills += await life.dead(REACH_SECONDS)
        life.kill()
    return kills


def of_one_situation(points: Iterable[str]) -> list[list[str]]:
    """The points that processes can be brought to, in their order, those next to each other that one situation serves
    together."""
    return [list(group) for provoke, group in groupby(points, situation) if provoke is not None]


async def run(*, times: int, only: str, say: Callable[[str], None], matrices: int = BESIDE) -> bool:
    """Every point, with everything brought to its end after each. Returns whether nothing forbidden happened.

    One after the other at each of so many matrices, which take the points in turn.
    """
    wanted = tuple(only.split(","))
    points = [point for point in POINTS if point.startswith(wanted) and situation(point) is not None]
    left_over, begun = iter(points), time.monotonic()
    say(f"{'point':28} {'kills':>5}  {'lost':>4} {'doubled':>7} {'drift':>5} {'other':>5}  seconds")
    async with asyncio.TaskGroup() as group:
        tallies = [group.create_task(_tally(left_over, times, say)) for _ in range(min(matrices, len(points)))]
    total = sum(tally.result()[0] for tally in tallies)
    say(f"{len(points)} points, {total:,} kills in {time.monotonic() - begun:.0f} s")
    say("\n".join(f"{point:28} killed at in {where}" for point, where in ELSEWHERE.items() if point.startswith(wanted)))
    return all(tally.result()[1] for tally in tallies)


async def _tally(points: Iterator[str], times: int, say: Callable[[str], None]) -> tuple[int, bool]:
    """Take points, kill at them and print the result. Returns the kills, and whether nothing forbidden happened."""
    total, well = 0, True
    async with open_matrix() as matrix:
        for point in points:
            started = time.monotonic()
            kills = await kill_at(matrix, [point], times)
            await matrix.drain()
            verdict, forbidden = await matrix.check_invariants()
            total += kills
            drift = verdict.ledger_drift_micros + verdict.reserved_left_micros
            lost = verdict.lost + verdict.unended + verdict.events_lost
            other = sum(forbidden.values()) - lost - drift - verdict.doubled
            say(
                f"{point:28} {kills:>5}  {lost:>4} {verdict.doubled:>7} {drift:>5} {other:>5}"
                f"  {time.monotonic() - started:6.1f}{'' if kills == times else '  NOT REACHED'}"
                f"{f'  {forbidden}' if forbidden else ''}"
            )
            well = well and not forbidden and kills == times
    return total, well


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill_matrix", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="at each point")
    parser.add_argument("--only", default="", help="points whose name begins so; several with commas")
    options = parser.parse_args()
    well = asyncio.run(run(times=options.kills, only=options.only, say=lambda line: print(line, flush=True)))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
