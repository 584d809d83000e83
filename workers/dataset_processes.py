"""Process pools for reports, preparations and leakage reports: one for each, so that none waits for another."""

from service.datasets.processes.messages import (
    Answer,
    Compared,
    LeakageRequest,
    Preparation,
    PrepareRequest,
    Refusal,
    Reported,
    ReportRequest,
    Request,
)
from service.datasets.report_schema import FileReport, Leakage
from service.processes.pool import OnProgress, ProcessPool, WorkFailed

PROGRAM = "service.datasets.processes.main"


class DatasetProcesses:
    """The three pools; their processes start when they are first needed.

    `processes` is the size of each pool, and `memory_bytes` the address space that one process may add.
    """

    def __init__(self, *, processes: int, memory_bytes: int, storage_url: str, models_file: str) -> None:
        def pool(*arguments: str) -> ProcessPool[Request, Answer]:
            return ProcessPool(
                PROGRAM,
                answer_type=Answer,
                processes=processes,
                memory_bytes=memory_bytes,
                arguments=(storage_url, models_file, *arguments),
            )

        self._reporting, self._preparing, self._comparing = pool("counting"), pool(), pool()

    async def warm(self) -> None:
        """Start one process before the first dataset, so that its report need not wait for the imports."""
        await self._reporting.warm()

    async def report(self, request: ReportRequest, progress: OnProgress, *, project_id: str) -> FileReport:
        """The report of one dataset; `progress` is called with the bytes done. Raises `WorkFailed`, `LimitReached`."""
        answer = await self._reporting.ask(request, project_id=project_id, progress=progress)
        if not isinstance(answer, Reported):
            raise WorkFailed(f"an unexpected answer: {type(answer).__name__}")
        return answer.report

    async def prepare(self, request: PrepareRequest, progress: OnProgress, *, project_id: str) -> Preparation | Refusal:
        """Prepare one dataset; `progress` is called with the bytes read in all passes.

        Raises `WorkFailed` and `LimitReached`.
        """
        answer = await self._preparing.ask(request, project_id=project_id, progress=progress)
        if not isinstance(answer, (Preparation, Refusal)):
            raise WorkFailed(f"an unexpected answer: {type(answer).__name__}")
        return answer

    async def compare(self, request: LeakageRequest, progress: OnProgress, *, project_id: str) -> Leakage:
        """What two datasets share; `progress` is called with the bytes read of both.

        Raises `WorkFailed` and `LimitReached`.
        """
        answer = await self._comparing.ask(request, project_id=project_id, progress=progress)
        if not isinstance(answer, Compared):
            raise WorkFailed(f"an unexpected answer: {type(answer).__name__}")
        return answer.leakage

    async def close(self) -> None:
        """End every process."""
        await self._reporting.close()
        await self._preparing.close()
        await self._comparing.close()
