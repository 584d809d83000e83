"""Starting on a schema, ending on a signal, and what `/readyz` says of it: real processes."""

import asyncio
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from service.database.schema import head, incompatibility
from service.monitoring.readiness import REUSED_SECONDS
from service.settings import Settings
from tests.faults.callers import Caller, CallLog
from tests.faults.chaos import drained
from tests.faults.control import CREATE, NEVER
from tests.faults.harness import FaultHarness, connect, open_fault_harness
from tests.faults.invariants import check_invariants
from tests.faults.processes import environment, wait_until
from tests.stack import ROOT, Servers

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("startup"),
    pytest.mark.timeout(400),
    pytest.mark.faults,
]

CUT_SECONDS = 15.0
"""Less than the grace of an API or a worker, and than a call to the upstream: who ends by then has been cut."""

CHECK_SECONDS = 90.0
NEXT = f"{int(head()) + 1:04}"


class TestSchemas:
    """Which schemas code may run on; pure."""

    @pytest.mark.parametrize(
        ("revision", "compatible_from", "fits"),
        [("0013", 1, True), ("0014", 1, True), ("0020", 13, True), ("0012", 1, False), ("0014", 14, False)],
    )
    async def test_older_and_incompatible_ones_are_refused(
        self, revision: str, compatible_from: int, fits: bool
    ) -> None:
        assert (incompatibility(revision, compatible_from=compatible_from, needs="0013") is None) is fits

    async def test_the_message_has_the_command(self) -> None:
        for revision in (None, "0001"):
            assert "`tunegate migrate`" in (incompatibility(revision, compatible_from=1, needs="0013") or "")


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE alembic_version SET version_num = '0004'", "is at revision 0004"),
        (f"UPDATE gateway SET compatible_from = {NEXT}", "Start a newer version"),
        ("DROP TABLE alembic_version CASCADE", "has no schema"),
    ],
    ids=["older", "incompatible", "none"],
)
async def test_refuses_to_start(settings: Settings, owner_url: str, command: str, statement: str, message: str) -> None:
    connection = await connect(owner_url)
    await connection.execute(statement)
    await connection.close()
    done = await asyncio.to_thread(_run, command, environment(settings))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


async def test_migrations_take_as_long_as_they_need(servers: Servers) -> None:
    """The time of a statement ends for the service, not for the schema's owner."""
    from service.database.engine import STATEMENT_SECONDS, create_engine

    for given in (None, STATEMENT_SECONDS):
        engine = create_engine(servers.admin_url, pool_size=1, role=None, statement_seconds=given)
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            assert driver._config.command_timeout == given
        await engine.dispose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def harness() -> AsyncIterator[FaultHarness]:
    """A site on a schema that is one revision newer than the code, with a column that the code does not know."""
    async with open_fault_harness(poll_seconds=0.3, upstream_timeout_seconds=30.0, lease_seconds=60.0) as opened:
        await opened.execute("ALTER TABLE jobs ADD COLUMN of_a_later_version text NOT NULL DEFAULT 'x'")
        await opened.execute("UPDATE alembic_version SET version_num = $1", NEXT)
        opened.new_api().start()
        await opened.serving()
        await opened.new_tenant("first")
        yield opened


class TestReadiness:
    async def test_tells_that_no_worker_works_and_serves_nevertheless(self, harness: FaultHarness) -> None:
        status, reported = await _ready(harness)
        assert (status, reported["status"], reported["reconciler"]) == (200, "degraded", "no worker has reported")
        worker = harness.new_worker().start()
        reported = await harness.all_well()
        assert {reported[name] for name in ("database", "schema", "storage", "redis", "reconciler")} == {"ok"}
        assert reported["reconciler_seconds"] < 20
        worker.signal(signal.SIGTERM)
        assert await worker.ended() == 0, worker.output()
        _, reported = await _ready(harness)
        assert reported["reconciler"] == "no worker has reported", "a worker that stops takes its row away"

    async def test_tells_how_long_the_oldest_work_is_due(self, harness: FaultHarness) -> None:
        caller = Caller(harness, await harness.new_tenant(str(len(harness.tenants))), CallLog())
        await caller.new_file("due")
        await harness.execute("UPDATE file_reports SET due_at = now() - interval '90 s' WHERE status = 'pending'")
        status, reported = await _ready(harness)
        assert (status, reported["status"]) == (200, "degraded")
        assert 89 < reported["oldest_due_seconds"] < 600
        await caller.close()

    async def test_an_older_schema_is_not_served(self, harness: FaultHarness) -> None:
        await harness.execute("UPDATE alembic_version SET version_num = '0004'")
        try:
            status, reported = await _ready(harness)
            assert (status, reported["status"]) == (503, "unavailable")
            assert "tunegate migrate" in reported["schema"]
        finally:
            await harness.execute("UPDATE alembic_version SET version_num = $1", NEXT)

    async def test_redis_degrades(self, harness: FaultHarness) -> None:
        harness.redis.kill()
        status, reported = await _ready(harness)
        assert (status, reported["status"], reported["redis"]) == (200, "degraded", "unavailable")
        await harness.redis.ready()
        await wait_until(lambda: _redis_is_back(harness), CHECK_SECONDS, "Redis stays away")


class TestSigterm:
    async def test_an_upload_under_way_is_answered(self, harness: FaultHarness) -> None:
        api = harness.apis[-1]
        with await _half_an_upload(harness) as sending:
            api.signal(signal.SIGTERM)
            await asyncio.sleep(1.0)
            assert api.alive
            harness.new_api().start()
            sending.sendall(_REST)
            answer = await asyncio.to_thread(sending.recv, 65536)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert await api.ended() in (0, -signal.SIGTERM)
        await harness.serving()

    async def test_a_second_one_cuts(self, harness: FaultHarness) -> None:
        api = harness.apis[-1]
        with await _half_an_upload(harness):
            api.signal(signal.SIGTERM)
            await asyncio.sleep(0.5)
            assert api.alive
            api.signal(signal.SIGTERM)
            await api.ended(CUT_SECONDS)
        harness.new_api().start()
        await harness.serving()

    async def test_a_worker_ends_its_steps(self, harness: FaultHarness) -> None:
        worker = harness.new_worker().start()
        harness.upstream.fault(CREATE, None, late=NEVER)
        job_id = await _sent_job(harness)
        worker.signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert worker.alive
        harness.upstream.release()
        assert await worker.ended() == 0, worker.output()
        [job] = await harness.fetch("SELECT state, create_phase, leased_until FROM jobs WHERE id = $1", job_id)
        assert dict(job) == {"state": "running", "create_phase": "created", "leased_until": None}

    async def test_a_second_one_cuts_a_worker_and_the_next_one_finds_out(self, harness: FaultHarness) -> None:
        worker = harness.new_worker().start()
        harness.upstream.fault(CREATE, None, late=NEVER)
        job_id = await _sent_job(harness)
        worker.signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert worker.alive
        worker.signal(signal.SIGTERM)
        assert await worker.ended(CUT_SECONDS) == 0, worker.output()
        harness.upstream.release()
        await harness.execute("UPDATE jobs SET leased_until = now() WHERE id = $1", job_id)
        worker = harness.new_worker().start()
        await wait_until(lambda: _ended(harness, job_id), CHECK_SECONDS, worker.output())
        assert len(harness.upstream.jobs(job_id)) == 1
        worker.signal(signal.SIGTERM)
        await worker.ended()


async def test_a_rolling_deploy_loses_nothing(harness: FaultHarness) -> None:
    """Old and new side by side, on the newer schema, replaced one by one while callers call."""
    reported = CallLog()
    caller = Caller(harness, await harness.new_tenant(str(len(harness.tenants))), reported)
    harness.upstream.configure(terse=True)
    workers = [harness.new_worker().start() for _ in range(2)]
    apis = [harness.apis[-1], harness.new_api().start()]
    await caller.new_file("rolling")

    async def load() -> None:
        for number in range(30):
            await asyncio.sleep(0.2)
            await caller.submit(100 + number, random.Random(number))

    calling = asyncio.create_task(load())
    for old in (*workers, *apis):
        new = (harness.new_worker() if old in workers else harness.new_api()).start()
        await asyncio.sleep(1.5)
        old.signal(signal.SIGTERM)
        assert await old.ended() in (0, -signal.SIGTERM), old.output()
        assert new.alive
    await calling
    await drained(harness, 120)
    verdict = await check_invariants(harness, reported.accepted, once=reported.once)
    assert verdict.forbidden() == {}, verdict.table()
    assert [status for status in reported.statuses if status >= 500] == []
    await caller.close()


_BOUNDARY = b"--together"
_FIRST = (
    _BOUNDARY
    + b'\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    + _BOUNDARY
    + b'\r\ncontent-disposition: form-data; name="file"; filename="half.txt"\r\n\r\nthe first half, '
)
_REST = b"and the second\r\n" + _BOUNDARY + b"--\r\n"


async def _half_an_upload(harness: FaultHarness) -> socket.socket:
    """A connection on which one half of an upload was sent, and taken."""
    key, before = harness.tenants[0].key, await _announced(harness)
    sending = socket.create_connection(("127.0.0.1", harness.listener.getsockname()[1]), timeout=CHECK_SECONDS)
    sending.sendall(
        b"POST /v1/files HTTP/1.1\r\nhost: here\r\ncontent-type: multipart/form-data; boundary=together\r\n"
        + f"authorization: Bearer {key}\r\ncontent-length: {len(_FIRST) + len(_REST)}\r\n\r\n".encode()
        + _FIRST
    )

    async def taken() -> bool:
        return await _announced(harness) > before

    await wait_until(taken, CHECK_SECONDS, "the half is not taken")
    return sending


async def _announced(harness: FaultHarness) -> int:
    return int((await harness.fetch("SELECT count(*) FROM pending_uploads"))[0][0])


async def _sent_job(harness: FaultHarness) -> str:
    """A job whose create is under way."""
    caller = Caller(harness, await harness.new_tenant(str(len(harness.tenants))), reported := CallLog())
    harness.upstream.configure(terse=False)
    before = len(harness.upstream.creates())
    await caller.new_file(f"sent{before}")
    await caller.submit(1, _Never())
    await wait_until(lambda: len(harness.upstream.creates()) > before, CHECK_SECONDS, harness.workers[-1].output())
    await caller.close()
    return next(iter(reported.accepted))


class _Never(random.Random):
    """Chance that cancels and pauses nothing, and calls by the SDK."""

    def random(self) -> float:
        return 0.99

    def choice(self, seq: Any) -> Any:
        return seq[0]


async def _ended(harness: FaultHarness, job_id: str) -> bool:
    rows = await harness.fetch("SELECT finished_at FROM jobs WHERE id = $1", job_id)
    return rows[0][0] is not None


async def _ready(harness: FaultHarness) -> tuple[int, dict[str, Any]]:
    await asyncio.sleep(REUSED_SECONDS)  # an earlier result is used for this time
    async with httpx2.AsyncClient(timeout=CHECK_SECONDS) as http:
        answer = await http.get(f"{harness.root_url}/readyz")
    return answer.status_code, answer.json()


async def _redis_is_back(harness: FaultHarness) -> bool:
    return bool((await _ready(harness))[1]["redis"] == "ok")


def _run(command: str, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "cli", command],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=CHECK_SECONDS,
        check=False,
    )
