"""A pool of processes that work on what callers wrote. Each serves one request at a time and is replaced when it ends.

Projects share the processes by the rule of `service/fair_shares.py`. A request that makes its process reach a limit of
time or memory fails with `LimitReached`, which names what was being done; no other request is affected.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Generic, TypeVar

import msgspec

from service.fair_places import FairPlaces
from service.processes.guard import LABEL_BYTES, LimitReached, Record, reason_of_end
from service.processes.program import MEMORY_BYTES, RECORD_FD, Answered, Exceeded, Failed, Line, Progress
from service.settings import SECRET_VARIABLES

Request = TypeVar("Request")
Answer = TypeVar("Answer")

MAX_ANSWER_BYTES = 256 * 1024 * 1024
EXIT_WAIT_SECONDS = 2.0
"""How long to wait for the exit of a process that was killed."""

SILENCE_SECONDS = 600.0
"""A process that writes nothing for this time, not even progress, hangs."""

OnProgress = Callable[[int], Awaitable[None]]
"""Called with the number of bytes done so far."""

_LINE: Any = Line


class WorkFailed(Exception):
    """There is no result: the process ended or hangs, or the store is unavailable."""

    def __init__(self, error: str, *, store_unavailable: bool = False) -> None:
        super().__init__(error)
        self.store_unavailable = store_unavailable


@dataclass(frozen=True, slots=True)
class _Worker:
    process: asyncio.subprocess.Process
    record: Record
    file: IO[bytes]


class ProcessPool(Generic[Request, Answer]):
    """A fixed number of processes of one program, each started when it is first needed.

    `memory_bytes` is the address space that a process may add after its start. A process that is silent for
    `silence_seconds` is killed, and its request fails. One that has been idle for `idle_seconds` is ended; None: never.
    """

    def __init__(
        self,
        module: str,
        *,
        answer_type: Any,
        processes: int,
        memory_bytes: int,
        arguments: tuple[str, ...] = (),
        silence_seconds: float = SILENCE_SECONDS,
        max_waiting: int | None = None,
        idle_seconds: float | None = None,
    ) -> None:
        self._command = (sys.executable, "-m", module, *arguments)
        self._answer_type = answer_type
        self._memory_bytes = memory_bytes
        self._silence_seconds = silence_seconds
        self._idle_seconds = idle_seconds
        self._idle_timers: dict[asyncio.subprocess.Process, asyncio.TimerHandle] = {}
        self._places = FairPlaces(processes, max_waiting=max_waiting)
        self._idle: list[_Worker] = []
        self._all: dict[asyncio.subprocess.Process, _Worker] = {}

    async def warm(self) -> None:
        """Start one process before the first request, so that the request need not wait for the imports."""
        self._idle.append(await self._start())

    async def ask(self, request: Request, *, project_id: str, progress: OnProgress | None = None) -> Answer:
        """The answer to one request; `progress` is called with the bytes done so far.

        Raises `LimitReached`, `WorkFailed`, and `PlacesFull` when too many requests of the project wait. Cancelling the
        call kills the process, since its work cannot be interrupted otherwise.
        """
        async with self._places.occupy(project_id):
            worker = await self._next()
            try:
                answered = await self._ask(worker, request, progress)
            except BaseException:
                await self._end(worker)
                raise
            if isinstance(answered, Exceeded) or answered.is_large:
                await self._end(worker)
            else:
                self._keep_idle(worker)
        match answered:
            case Answered(raw):
                answer: Answer = msgspec.json.decode(raw, type=self._answer_type)
                return answer
            case Exceeded(limit, label):
                raise LimitReached(limit, label)
            case Failed(error, store_unavailable, _):
                raise WorkFailed(error, store_unavailable=store_unavailable)

    async def close(self) -> None:
        """End every process."""
        for worker in list(self._all.values()):
            await self._end(worker)

    def _keep_idle(self, worker: _Worker) -> None:
        self._idle.append(worker)
        if self._idle_seconds is not None:
            loop = asyncio.get_running_loop()
            self._idle_timers[worker.process] = loop.call_later(self._idle_seconds, self._end_idle, worker)

    def _end_idle(self, worker: _Worker) -> None:
        """End a process at once: it does nothing, so that nothing waits for its end."""
        self._idle.remove(worker)
        if worker.process.returncode is None:
            worker.process.kill()
        self._forget(worker)

    async def _next(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if (timer := self._idle_timers.pop(worker.process, None)) is not None:
                timer.cancel()
            if worker.process.returncode is None:
                return worker
            await self._end(worker)
        return await self._start()

    async def _start(self) -> _Worker:
        file = tempfile.TemporaryFile()  # noqa: SIM115  (open until the process has ended)
        os.ftruncate(file.fileno(), LABEL_BYTES)
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=MAX_ANSWER_BYTES,
            pass_fds=(file.fileno(),),
            env=_environment(record_fd=file.fileno(), memory_bytes=self._memory_bytes),
        )
        worker = self._all[process] = _Worker(process, Record.opened(file.fileno()), file)
        return worker

    async def _end(self, worker: _Worker) -> None:
        if worker.process not in self._all:
            return
        if worker in self._idle:
            self._idle.remove(worker)
        if worker.process.returncode is None:
            worker.process.kill()
            with suppress(TimeoutError):
                await asyncio.wait_for(worker.process.wait(), EXIT_WAIT_SECONDS)
        self._forget(worker)

    def _forget(self, worker: _Worker) -> None:
        if self._all.pop(worker.process, None) is None:
            return
        if (timer := self._idle_timers.pop(worker.process, None)) is not None:
            timer.cancel()
        worker.record.close()
        worker.file.close()

    async def _ask(
        self, worker: _Worker, request: Request, progress: OnProgress | None
    ) -> Answered | Exceeded | Failed:
        process = worker.process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("A process was started without pipes.")
        try:
            process.stdin.write(msgspec.json.encode(request) + b"\n")
            await process.stdin.drain()
            while raw := await asyncio.wait_for(process.stdout.readline(), self._silence_seconds):
                line: Line = msgspec.json.decode(raw, type=_LINE)
                if not isinstance(line, Progress):
                    return line
                if progress is not None:
                    await progress(line.done_bytes)
        except (BrokenPipeError, ConnectionResetError):
            pass
        except TimeoutError:
            raise WorkFailed("the process hangs") from None
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), EXIT_WAIT_SECONDS)
        reached = reason_of_end(process.returncode, worker.record)
        raise reached or WorkFailed("the process ended before its answer")


def _environment(*, record_fd: int, memory_bytes: int) -> dict[str, str]:
    """This process's environment without the secrets, which nothing that reads a caller's input needs."""
    public = {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES}
    return {**public, RECORD_FD: str(record_fd), MEMORY_BYTES: str(memory_bytes)}
