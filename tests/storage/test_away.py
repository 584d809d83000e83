"""While the storage is unavailable, callers get 503 within a bounded time, and no dataset, job or run is given up."""

import time
from typing import Any

import pytest

from service.storage import Storage, StorageUnavailable
from tests.deletions.served import served
from tests.faults.proxy import NetworkFault, Proxy
from tests.storage.conftest import URL
from tests.workers.harness import WorkerHarness
from workers.datasets.retry_policy import STORE_UNAVAILABLE

ATTEMPTS = 8
"""More than the five crashes after which a dataset is given up."""

REFUSED, SILENT, CLEAR = NetworkFault("refuse"), NetworkFault("black hole"), NetworkFault()


async def test_every_way_of_asking_says_so(link: Proxy) -> None:
    kept = Storage(URL)
    link.change(REFUSED)

    async def listed() -> None:
        [keys async for keys in kept.keys("one/")]

    async def read() -> None:
        [chunk async for chunk in kept.read("one")]

    async def read_by_a_process() -> None:
        list(kept.read_sync("one"))

    for asked in (listed(), read(), read_by_a_process(), kept.delete("one")):
        with pytest.raises(StorageUnavailable):
            await asked
    assert not await kept.ping()
    link.change(CLEAR)
    assert await kept.ping()


async def test_callers_get_503(harness: WorkerHarness, link: Proxy) -> None:
    file_id = await harness.new_file()
    async with served(harness) as http:
        link.change(REFUSED)
        upload: dict[str, Any] = {
            "files": {"file": ("data.jsonl", b"{}\n")},
            "data": {"purpose": "fine-tune"},
            "timeout": 90,
        }
        for answer in (await http.post("/files", **upload), await http.get(f"/files/{file_id}/content", timeout=90)):
            assert answer.status_code == 503, answer.text
            assert answer.json()["error"]["code"] == "service_unavailable"
            assert answer.headers["retry-after"]
        assert (await http.get(f"/files/{file_id}")).status_code == 200, "what needs no bytes is answered"
        link.change(CLEAR)
        assert (await http.post("/files", **upload)).status_code == 200


async def test_readiness_tells_in_time_when_the_store_is_silent(harness: WorkerHarness, link: Proxy) -> None:
    async with served(harness) as http:
        link.change(SILENT)
        begun = time.monotonic()
        ready = await http.get("http://tunegate/readyz", timeout=90)
        assert (ready.status_code, ready.json()["storage"]) == (503, "unavailable")
        assert time.monotonic() - begun < 20, "it would take the store's own retries: half a minute and more"


async def test_a_report_waits_however_long_it_takes(harness: WorkerHarness, link: Proxy) -> None:
    file_id = await harness.new_file()
    await harness.leave_unchecked(file_id)
    link.change(REFUSED)
    for _ in range(ATTEMPTS):
        report = await harness.check_step(file_id)
        assert (report.status, report.failures) == ("pending", 0)
    link.change(CLEAR)
    assert (await harness.check_step(file_id)).status == "ready"


async def test_a_job_waits_and_its_file_is_sent_once(harness: WorkerHarness, link: Proxy) -> None:
    job_id = await harness.new_job()
    while (await harness.job(job_id)).state != "uploading":
        await harness.step(job_id)
    link.change(REFUSED)
    for _ in range(ATTEMPTS):
        job = await harness.step(job_id)
        assert (job.state, job.failures, job.waiting_reason) == ("uploading", 0, STORE_UNAVAILABLE)
    link.change(CLEAR)
    assert (await harness.until_end(job_id)).state == "succeeded"
