"""The processes that make reports, prepare datasets and compare them, apart, so that none waits for the others."""

from collections.abc import Awaitable, Callable

from service.datasets.processes.leakage import LeakageRequest
from service.datasets.processes.main import Compared, Reported
from service.datasets.processes.preparation import Preparation, PrepareRequest, Refusal
from service.datasets.processes.report import ReportRequest
from service.datasets.report_schema import FileReport, Leakage
from workers.process_pool import ProcessPool, WorkFailed

PROGRAM = "service.datasets.processes.main"


class DatasetProcesses:
    """A few processes of each kind, started when first needed."""

    def __init__(self, *, processes: int, storage_url: str, models_file: str) -> None:
        arguments = (storage_url, models_file)
        self._reporting = ProcessPool(processes=processes, module=PROGRAM, arguments=(*arguments, "counting"))
        self._preparing = ProcessPool(processes=processes, module=PROGRAM, arguments=arguments)
        self._comparing = ProcessPool(processes=1, module=PROGRAM, arguments=arguments)

    async def warm(self) -> None:
        """Start one process ahead of the first dataset, so that it need not wait for the imports."""
        await self._reporting.warm()

    async def report(self, request: ReportRequest, progress: Callable[[int], Awaitable[None]]) -> FileReport:
        """The report of one dataset; `progress` hears of bytes done. Raises `WorkFailed`."""
        answer = await self._reporting.ask(request, progress)
        if not isinstance(answer, Reported):
            raise WorkFailed(f"an answer of another kind: {type(answer).__name__}")
        return answer.report

    async def prepare(
        self, request: PrepareRequest, progress: Callable[[int], Awaitable[None]]
    ) -> Preparation | Refusal:
        """Prepare one dataset; `progress` hears of bytes read, each pass counted. Raises `WorkFailed`."""
        answer = await self._preparing.ask(request, progress)
        if not isinstance(answer, (Preparation, Refusal)):
            raise WorkFailed(f"an answer of another kind: {type(answer).__name__}")
        return answer

    async def compare(self, request: LeakageRequest, progress: Callable[[int], Awaitable[None]]) -> Leakage:
        """What two datasets share; `progress` hears of bytes read of both. Raises `WorkFailed`."""
        answer = await self._comparing.ask(request, progress)
        if not isinstance(answer, Compared):
            raise WorkFailed(f"an answer of another kind: {type(answer).__name__}")
        return answer.leakage

    async def close(self) -> None:
        """End every process."""
        await self._reporting.close()
        await self._preparing.close()
        await self._comparing.close()
