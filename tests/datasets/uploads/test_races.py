"""Completing from several places at once, against cancels, lost leases and processes that die in the middle."""

import asyncio
import dataclasses
import datetime as dt
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import delete, func, select, update

from cli.embedded import free_port
from cli.supervisor import GUARD, log_tail
from service.database.engine import Database, create_engine
from service.database.tables import File, FileReport, PendingUpload, Upload
from service.settings import Settings
from service.wakeups import Wakeups
from tests.datasets.uploads.calls import (
    NOTHING,
    ONE_FILE,
    age,
    announce,
    cancel,
    change,
    code_of,
    complete,
    counts,
    send,
)
from tests.datasets.uploads.conftest import Gateway
from tests.http.fixtures import Api
from tests.stack import ROOT
from tests.wire import make_tenant
from tests.workers.harness import open_context
from tests.workers.process import environment
from workers.maintenance import storage_cleanup

MINUTE = dt.timedelta(minutes=1)
WAITING_SECONDS = 0.5
RECEIVED_SECONDS = 5.0
"""Long enough that the call is received before its caller hangs up, even on a machine that pauses for a while."""


async def somebody_joins(api: Api, upload_id: str, leased_until: object) -> None:
    """Let another process hold the lock for joining the parts."""
    await change(api, upload_id, lease_token=Upload.lease_token + 1, due_at=func.now(), leased_until=leased_until)


async def test_many_at_once_make_one_file(api: Api) -> None:
    piece = os.urandom(500_000)
    async with api.http() as http:
        upload_id = await announce(http, 8 * len(piece), purpose="fine-tune")
        part_ids = [await send(http, upload_id, piece) for _ in range(8)]
        answers = await asyncio.gather(*(complete(http, upload_id, part_ids) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
    assert await counts(api) == ONE_FILE
    async with api.rows() as session:
        assert await session.scalar(select(func.count()).select_from(FileReport)) == 1


async def test_one_that_waits_gets_the_answer_of_the_cancel(api: Api) -> None:
    async with api.http() as http:
        upload_id = await announce(http, 3)
        part_id = await send(http, upload_id, b"abc")
        await somebody_joins(api, upload_id, func.now() + MINUTE)
        waiting = asyncio.create_task(complete(http, upload_id, [part_id]))
        await asyncio.sleep(WAITING_SECONDS)
        assert not waiting.done()
        assert (await cancel(http, upload_id)).json()["status"] == "cancelled"
        assert code_of(await waiting) == "upload_cancelled"
    assert await counts(api) == NOTHING


async def test_one_that_waits_takes_over_when_the_lease_has_ended(api: Api) -> None:
    async with api.http() as http:
        upload_id = await announce(http, 3)
        part_id = await send(http, upload_id, b"abc")
        await somebody_joins(api, upload_id, func.now() + MINUTE)
        waiting = asyncio.create_task(complete(http, upload_id, [part_id]))
        await asyncio.sleep(WAITING_SECONDS)
        await change(api, upload_id, leased_until=func.now())
        assert (await waiting).json()["status"] == "completed"
    assert await counts(api) == ONE_FILE


async def test_one_whose_caller_hangs_up_goes_on(api: Api) -> None:
    """A proxy may cut a call that takes minutes; the repetition finds the file made."""
    async with api.http() as http:
        upload_id = await announce(http, 3)
        part_id = await send(http, upload_id, b"abc")
        await somebody_joins(api, upload_id, func.now() + MINUTE)
        with pytest.raises(httpx2.ReadTimeout):
            await http.post(f"/uploads/{upload_id}/complete", json={"part_ids": [part_id]}, timeout=RECEIVED_SECONDS)
        await change(api, upload_id, leased_until=func.now())
        async with asyncio.timeout(90):
            while await counts(api) != ONE_FILE:
                await asyncio.sleep(0.05)
        assert (await complete(http, upload_id, [part_id])).json()["status"] == "completed"


async def test_a_cancel_in_the_middle_ends_in_the_file_or_in_nothing(api: Api) -> None:
    """The first one counts, and both callers get its result."""
    piece = os.urandom(10_000_000)
    cancelled = 0
    async with api.http() as http:
        for delay_ms in (0, 5, 10, 20, 40, 80):
            upload_id = await announce(http, 4 * len(piece))
            part_ids = [await send(http, upload_id, piece) for _ in range(4)]
            completing = asyncio.create_task(complete(http, upload_id, part_ids))
            await asyncio.sleep(delay_ms / 1000)
            stopped, done = await cancel(http, upload_id), await completing
            if stopped.status_code == 200:
                cancelled += 1
                assert code_of(done) == "upload_cancelled"
                assert await counts(api) == NOTHING
            else:
                assert code_of(stopped) == "upload_completed"
                assert await counts(api) == ONE_FILE
                async with api.rows() as session:
                    await session.execute(delete(Upload))
                    await session.execute(delete(File))
                (kept,) = api.objects()
                Path(kept).unlink()
    assert cancelled


async def test_the_janitor_ends_what_nobody_completed(api: Api, gateway: Gateway) -> None:
    async with api.http() as http, open_context(gateway.settings) as ctx:
        young, old, begun = [await announce(http, 3) for _ in range(3)]
        parts = [await send(http, upload_id, b"abc") for upload_id in (young, old, begun)]
        await age(api, old, 61 * MINUTE)
        await age(api, begun, 61 * MINUTE)
        await somebody_joins(api, begun, func.now() + MINUTE)
        await storage_cleanup.clean_up(ctx)
        assert await counts(api) == NOTHING | {"upload_parts": 2, "objects": 2}
        assert code_of(await complete(http, old, parts[1:2])) == "upload_expired"
        assert (await complete(http, young, parts[:1])).status_code == 200
        await change(api, begun, leased_until=func.now())
        await storage_cleanup.clean_up(ctx)
        assert await counts(api) == ONE_FILE
        assert code_of(await complete(http, begun, parts[2:])) == "upload_expired"
        await age(api, old, dt.timedelta(days=31))
        await storage_cleanup.clean_up(ctx)
        assert code_of(await cancel(http, old), 404) == "upload_not_found"


async def test_the_janitor_does_what_a_cancel_could_not(api: Api, gateway: Gateway) -> None:
    async with api.http() as http, open_context(gateway.settings) as ctx:
        upload_id = await announce(http, 3)
        await send(http, upload_id, b"abc")
        await change(api, upload_id, status="cancelled")
        await storage_cleanup.clean_up(ctx)
    assert await counts(api) == NOTHING


@asynccontextmanager
async def serving(settings: Settings, folder: Path, *, fault_point: str = "") -> AsyncIterator[str]:
    """A `tunegate serve` of its own: its base URL. `fault_point` is where it kills itself."""
    port = free_port()
    env = environment(dataclasses.replace(settings, port=port)) | {"TUNEGATE_FAULT_POINT": fault_point}
    command = [sys.executable, "-I", "-S", str(GUARD), "--parent", str(os.getpid()), "--"]
    log_file = folder / f"serve-{port}.log"
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [*command, sys.executable, "-m", "cli", "serve"],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        async with httpx2.AsyncClient(timeout=60) as http, asyncio.timeout(90):
            while True:
                assert process.poll() is None, log_tail(log_file, 40)
                try:
                    await http.get(f"http://127.0.0.1:{port}/livez")
                    break
                except httpx2.TransportError:
                    await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1"
        if fault_point:
            assert await asyncio.to_thread(process.wait, 90) == -signal.SIGKILL
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


async def test_a_crash_in_the_middle_is_finished_by_completing_again(settings: Settings, tmp_path: Path) -> None:
    """Killed after the bytes are joined and before the file is recorded: the worst place."""
    settings = dataclasses.replace(
        settings, upstream_base_url="http://127.0.0.1:1/v1", upstream_api_key="none", lease_seconds=1.0
    )
    assert settings.storage_path is not None
    db = Database(create_engine(settings.database_url, pool_size=1), Wakeups(""))
    try:
        async with serving(settings, tmp_path, fault_point="upload.joined") as base_url:
            tenant = await make_tenant(base_url, settings.database_url)
            api = Api(settings.storage_path, db, tenant, tenant)
            async with api.http() as http:
                upload_id = await announce(http, 2_000_000)
                part_ids = [await send(http, upload_id, bytes([number]) * 1_000_000) for number in (1, 2)]
                with pytest.raises(httpx2.TransportError):
                    await complete(http, upload_id, part_ids)
        assert await counts(api) == NOTHING | {"upload_parts": 2, "pending_uploads": 1, "objects": 3}
        await age(api, upload_id, dt.timedelta(minutes=60))
        async with serving(settings, tmp_path) as base_url:
            api = Api(settings.storage_path, db, dataclasses.replace(tenant, base_url=base_url), tenant)
            async with api.http() as http:
                done = await complete(http, upload_id, part_ids)
                assert done.status_code == 200, done.text
                content = (await http.get(f"/files/{done.json()['file']['id']}/content")).content
        assert hashlib.sha256(content).digest() == hashlib.sha256(b"\1" * 1_000_000 + b"\2" * 1_000_000).digest()
        assert await counts(api) == {"files": 1, "upload_parts": 0, "pending_uploads": 1, "objects": 2}
        async with api.rows() as session:
            await session.execute(update(PendingUpload).values(created_at=func.now() - dt.timedelta(days=2)))
        async with open_context(settings) as ctx:
            await storage_cleanup.clean_up(ctx)
        assert await counts(api) == ONE_FILE
    finally:
        await db.close()
