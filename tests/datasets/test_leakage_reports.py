"""Leakage by the API: requested with a report, a quote or a job, made by a worker, reported to the jobs once."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select, update

from service.database import leases
from service.database.tables import FileReport, JobEvent, LeakageReport
from service.datasets.leakage.find import find_leakage
from service.settings import Settings
from tests.datasets.rows import asked
from tests.http.fixtures import Api
from tests.stack import ROOT
from tests.wire import chat_rows, jsonl, refusal
from tests.workers.harness import open_context
from workers.context import Context
from workers.datasets import leakage, report
from workers.datasets.retry_policy import MAX_ATTEMPTS

TRAINING = chat_rows(12)
MODEL = "gpt-4o-mini"


@pytest.fixture
async def worker(gateway: tuple[Settings, str]) -> AsyncIterator[Context]:
    """A worker's context at that API's database and storage."""
    async with open_context(dataclasses.replace(gateway[0], redis_url="")) as ctx:
        yield ctx


async def put(http: httpx2.AsyncClient, rows: list[Any], *, purpose: str = "fine-tune") -> str:
    answer = await http.post("/files", data={"purpose": purpose}, files={"file": ("a.jsonl", jsonl(rows))})
    file_id: str = answer.json()["id"]
    return file_id


async def claimed(ctx: Context, api: Api, table: Any) -> list[leases.Claim[Any]]:
    async with ctx.db.worker() as session:
        mine = table.project_id == api.one.project_id
        await session.execute(update(table).where(mine, table.due_at.is_not(None)).values(due_at=func.now()))
        return await leases.claim(session, table, lease_seconds=60.0, limit=10, where=[mine])


async def compare(ctx: Context, api: Api) -> int:
    """Do what is to be compared. Returns how much that was."""
    found = await claimed(ctx, api, LeakageReport)
    for each in found:
        await leakage.compare(ctx, each)
    return len(found)


async def check(ctx: Context, api: Api) -> None:
    for each in await claimed(ctx, api, FileReport):
        await report.validate(ctx, each)


async def warnings_of(api: Api, job_id: str) -> list[str]:
    async with api.rows() as session:
        wanted = select(JobEvent.message).where(JobEvent.job_id == job_id, JobEvent.level == "warn")
        return list(await session.scalars(wanted))


async def test_a_report_with_a_validation_file_says_what_they_share(api: Api, worker: Context) -> None:
    async with api.http() as http:
        training = await put(http, TRAINING)
        validation = await put(http, [TRAINING[3], asked("How deep is it?", "Very.")])
        path = f"/files/{training}/report"
        assert (await http.get(path)).json()["leakage"] is None
        for _ in range(2):
            pending = (await http.get(path, params={"validation_file": validation})).json()
            assert (pending["status"], pending["leakage"]["status"]) == ("pending", "pending")
            assert (pending["leakage"]["validation_file"], pending["leakage"]["findings"]) == (validation, [])
        assert await compare(worker, api) == 1, "once for each pair"
        found = (await http.get(path, params={"validation_file": validation})).json()["leakage"]
        assert (found["status"], found["exact"], found["near"], found["share"]) == ("ready", 1, 0, 0.5)
        assert (found["training_examples"], found["validation_examples"]) == (12, 2)
        (finding,) = found["findings"]
        assert (finding["code"], finding["line"]) == ("leakage_exact", 1)
        assert "Line 4 of the training file" in finding["message"]


async def test_another_s_file_is_as_one_that_never_was(api: Api) -> None:
    async with api.http() as http, api.http(api.other) as other:
        training, foreign = await put(http, TRAINING), await put(other, TRAINING)
        path = f"/files/{training}/report"
        reported = []
        for file_id in (foreign, foreign[:-4] + "zzzz"):
            answer = await http.get(path, params={"validation_file": file_id})
            reported.append((answer.status_code, answer.text.replace(file_id, "ID")))
        assert reported[0] == reported[1]
        assert reported[0][0] == 400
        answer = await http.get(path, params={"validation_file": await put(http, TRAINING, purpose="user_data")})
        assert (refusal(answer)["code"], refusal(answer)["param"]) == ("wrong_purpose", "validation_file")


async def test_a_quote_warns_and_refuses_nothing(api: Api, worker: Context) -> None:
    async with api.http() as http:
        body = {
            "model": MODEL,
            "training_file": await put(http, TRAINING),
            "validation_file": await put(http, TRAINING[:3]),
        }
        assert refusal(await http.post("/fine_tuning/quotes", json=body))["code"] == "report_pending"
        await check(worker, api)
        early = (await http.post("/fine_tuning/quotes", json=body)).json()
        assert early["allowed"]
        assert "still being checked" in early["warnings"][0]
        assert await compare(worker, api) == 1
        quote = (await http.post("/fine_tuning/quotes", json=body)).json()
        assert (quote["allowed"], quote["reasons"]) == (True, [])
        (warning,) = quote["warnings"]
        assert warning.startswith("3 of 3 validation examples (100.0%) are in the training file too: 3 the same")
        alone = (await http.post("/fine_tuning/quotes", json={**body, "validation_file": None})).json()
        assert alone["warnings"] == []


async def test_a_job_gets_the_warning_once_at_any_time(api: Api, worker: Context) -> None:
    async with api.http() as http:
        body = {
            "model": MODEL,
            "training_file": await put(http, TRAINING),
            "validation_file": await put(http, TRAINING[:3]),
        }
        before = (await http.post("/fine_tuning/jobs", json=body)).json()["id"]
        assert await warnings_of(api, before) == []
        assert await compare(worker, api) == 1
        after = (await http.post("/fine_tuning/jobs", json=body)).json()["id"]
        assert await compare(worker, api) == 0
        for job_id in (before, after):
            (warning,) = await warnings_of(api, job_id)
            assert warning.startswith("3 of 3 validation examples")
            shown = (await http.get(f"/fine_tuning/jobs/{job_id}")).json()["warnings"]
            assert [each for each in shown if each["code"] == "leakage"] == [{"code": "leakage", "message": warning}]
        clean = {**body, "validation_file": await put(http, [asked("How deep?", "Very.")])}
        job_id = (await http.post("/fine_tuning/jobs", json=clean)).json()["id"]
        await compare(worker, api)
        assert await warnings_of(api, job_id) == []


async def test_jobs_that_are_created_during_the_comparison_get_the_warning_once(api: Api, worker: Context) -> None:
    """Whichever commits first: the lock on the pair's row decides who tells the job."""
    async with api.http() as http:
        training = await put(http, TRAINING)
        for number in range(6):
            validation = await put(http, [*TRAINING[:3], asked(f"Number {number}?", "Yes.")])
            body = {"model": MODEL, "training_file": training, "validation_file": validation}
            first = (await http.post("/fine_tuning/jobs", json=body)).json()["id"]
            comparing = asyncio.create_task(compare(worker, api))
            answers = await asyncio.gather(*(http.post("/fine_tuning/jobs", json=body) for _ in range(4)))
            await comparing
            jobs = [first, *(answer.json()["id"] for answer in answers)]
            assert [len(await warnings_of(api, job_id)) for job_id in jobs] == [1] * 5
            listed = (await http.get("/fine_tuning/jobs", params={"limit": 5})).json()["data"]
            assert [[each["code"] for each in job["warnings"]].count("leakage") for job in listed] == [1] * 5


async def test_one_that_crashes_every_time_ends_without_a_result(
    api: Api, worker: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEGATE_FAULT_POINT", "leakage.working")
    async with api.http() as http:
        training, validation = await put(http, TRAINING), await put(http, TRAINING)
        path = f"/files/{training}/report?validation_file={validation}"
        await http.get(path)
        async with api.rows() as session:
            await session.execute(update(LeakageReport).values(failures=MAX_ATTEMPTS - 8))
        for status in ("pending", "ready"):
            assert await compare(worker, api) == 1
            found = (await http.get(path)).json()["leakage"]
            assert found["status"] == status
        assert found["notes"] == [leakage.NOT_COMPARED]
        assert await compare(worker, api) == 0


async def test_one_that_reaches_a_limit_says_so_at_the_first_attempt(api: Api, worker: Context) -> None:
    limited = dataclasses.replace(worker.settings, dataset_cpu_seconds=0.001)
    async with api.http() as http:
        training, validation = await put(http, chat_rows(300)), await put(http, chat_rows(300))
        path = f"/files/{training}/report?validation_file={validation}"
        await http.get(path)
        assert await compare(dataclasses.replace(worker, settings=limited), api) == 1
        found = (await http.get(path)).json()["leakage"]
    assert found["status"] == "ready"
    (note,) = found["notes"]
    assert note.startswith("Not compared. The limit of processor time (TUNEGATE_DATASET_CPU_SECONDS")


LARGE = """
import pathlib, re
from service.datasets.leakage.find import find_leakage
def rows(count, salt):
    for start in range(0, count, 1000):
        yield b"".join(
            b'{"messages":[{"role":"user","content":"%s %d %d %d"},{"role":"assistant","content":"%d"}]}\\n'
            % (salt, n * 7919 % 1000003, n * 104729 % 999983, n, n) for n in range(start, start + 1000)
        )
def peak():  # of this program alone: ru_maxrss begins with what the process was that started it
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
base = peak()
found = find_leakage(rows(60_000, b"t"), rows(120_000, b"v"), validation_file="v")
print(found.validation_examples, (peak() - base) // 1024)
"""


def test_a_large_pair_stays_in_bounded_memory() -> None:
    """120,000 validation rows: hashes, sketches and indexes take some 600 bytes a row, and the rest is streamed."""
    done = subprocess.run([sys.executable, "-c", LARGE], cwd=ROOT, capture_output=True, text=True, check=True)
    rows, megabytes = map(int, done.stdout.split())
    assert rows == 120_000
    assert megabytes < 130, f"{megabytes} MB"


def test_files_full_of_one_template_end_soon() -> None:
    """Every row is nearly every other: comparing each with each would be 100 million comparisons."""
    text = "Please tell me all that you know about the new product of ours that has the number {} in the shop today"
    training, validation = (
        jsonl([asked(text.format(number), "ok") for number in range(start, start + 10_000)]) for start in (0, 50_000)
    )
    started = time.process_time()
    found = find_leakage([training], [validation], validation_file="v")
    assert found.near > 9_000
    assert time.process_time() - started < 30
