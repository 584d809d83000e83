"""A dataset that needs too much time or memory ends its own report, preparation or comparison, which says so."""

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.datasets.preparation.options import Options
from service.datasets.processes.messages import LeakageRequest, Preparation, PrepareRequest, Refusal, ReportRequest
from service.processes.guard import LimitReached
from service.storage import Storage
from tests.workers.harness import LINE
from workers.dataset_processes import DatasetProcesses

MODEL, ROWS, LARGE = "gpt-4o-mini-2024-07-18", "rows.jsonl", "large.jsonl"
LARGE_TEXT = LINE.replace("%d", "\U0001f600" + "a" * 15_000_000)
"""A row whose text occupies 60 MB: each character takes four bytes, like its widest."""

Work = Callable[[DatasetProcesses, str, float], Awaitable[object]]


async def _report(processes: DatasetProcesses, key: str, seconds: float) -> object:
    request = ReportRequest(storage_key=key, file_id="file-1", model=MODEL, provider="openai", cpu_seconds=seconds)
    return await processes.report(request, _ignore, project_id="a")


async def _prepare(processes: DatasetProcesses, key: str, seconds: float, *, disk_bytes: int = 1 << 30) -> object:
    request = PrepareRequest(
        storage_key=key,
        filename=key,
        options=Options(),
        model=MODEL,
        training_key="training",
        validation_key="validation",
        changes_key="changes",
        cpu_seconds=seconds,
        disk_bytes=disk_bytes,
    )
    return await processes.prepare(request, _ignore, project_id="a")


async def _compare(processes: DatasetProcesses, key: str, seconds: float) -> object:
    request = LeakageRequest(training_key=key, validation_key=key, validation_file="file-1", cpu_seconds=seconds)
    return await processes.compare(request, _ignore, project_id="a")


async def _ignore(done_bytes: int) -> None:
    pass


@asynccontextmanager
async def _processes(folder: Path, *, memory_bytes: int) -> AsyncIterator[DatasetProcesses]:
    url = f"file://{folder}"
    for key, text in ((ROWS, "".join(LINE % number for number in range(2_000))), (LARGE, LARGE_TEXT)):
        Storage(url).put_sync(key, io.BytesIO(text.encode()))
    processes = DatasetProcesses(processes=1, memory_bytes=memory_bytes, storage_url=url, models_file="")
    try:
        yield processes
    finally:
        await processes.close()


@pytest.mark.parametrize(
    ("work", "label"),
    [(_report, "checking the file"), (_prepare, "preparing the file"), (_compare, "comparing the files")],
)
class TestLimits:
    async def test_of_time(self, tmp_path: Path, work: Work, label: str) -> None:
        async with _processes(tmp_path, memory_bytes=2 << 30) as processes:
            with pytest.raises(LimitReached) as reached:
                await work(processes, ROWS, 0.005)
            assert reached.value.limit == "time"
            assert reached.value.label.startswith(label)
            assert await work(processes, ROWS, 60.0)

    async def test_of_memory(self, tmp_path: Path, work: Work, label: str) -> None:
        async with _processes(tmp_path, memory_bytes=64 << 20) as processes:
            with pytest.raises(LimitReached) as reached:
                await work(processes, LARGE, 60.0)
        assert reached.value.limit == "memory"
        assert reached.value.label.startswith(label)


async def test_a_preparation_has_a_limit_of_temporary_files(tmp_path: Path) -> None:
    async with _processes(tmp_path, memory_bytes=2 << 30) as processes:
        refused = await _prepare(processes, ROWS, 60.0, disk_bytes=100_000)
        assert isinstance(refused, Refusal)
        assert refused.code == "preparation_limit_exceeded"
        assert "over 100,000 bytes" in refused.message
        assert "TUNEGATE_DATASET_DISK_BYTES" in refused.message
        assert isinstance(await _prepare(processes, ROWS, 60.0, disk_bytes=5_000_000), Preparation)
