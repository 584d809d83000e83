"""Process pools for reports, preparations and leakage reports: one for each, so that none waits for another."""

from service.datasets.processes.leakage import LeakageRequest
from service.datasets.processes.main import Compared, Reported
from service.datasets.processes.preparation import Preparation, PrepareRequest, Refusal
from service.datasets.processes.report import ReportRequest
from service.datasets.report_schema import FileReport, Leakage
from workers.process_pool import OnProgress, ProcessPool, WorkFailed

PROGRAM = "service.datasets.processes.main"


class DatasetProcesses:
    """The three pools; their processes start when they are first needed."""

    def __init__(self, *, processes: int, storage_url: str, models_file: str) -> None:
        arguments = (storage_url, models_file)
        self._reporting = ProcessPool(processes=processes, module=PROGRAM, arguments=(*arguments, "counting"))
        self._preparing = ProcessPool(processes=processes, module=PROGRAM, arguments=arguments)
        self._comparing = ProcessPool(processes=1, module=PROGRAM, arguments=arguments)

    async def warm(self) -> None:
        """Start one process before the first dataset, so that its report need not wait for the imports."""
        await self._reporting.warm()

    async def report(self, request: ReportRequest, progress: OnProgress) -> FileReport:
        """The report of one dataset; `progress` is called with the bytes done. Raises `WorkFailed`."""
        answer = await self._reporting.ask(request, progress)
        if not isinstance(answer, Reported):
            raise WorkFailed(f"an unexpected answer: {type(answer).__name__}")
        return answer.report

    async def prepare(self, request: PrepareRequest, progress: OnProgress) -> Preparation | Refusal:
        """Prepare one dataset; `progress` is called with the bytes read in all passes. Raises `WorkFailed`."""
        answer = await self._preparing.ask(request, progress)
        if not isinstance(answer, (Preparation, Refusal)):
            raise WorkFailed(f"an unexpected answer: {type(answer).__name__}")
        return answer

    async def compare(self, request: LeakageRequest, progress: OnProgress) -> Leakage:
        """What two datasets share; `progress` is called with the bytes read of both. Raises `WorkFailed`."""
        answer = await self._comparing.ask(request, progress)
        if not isinstance(answer, Compared):
            raise WorkFailed(f"an unexpected answer: {type(answer).__name__}")
        return answer.leakage

    async def close(self) -> None:
        """End every process."""
        await self._reporting.close()
        await self._preparing.close()
        await self._comparing.close()
