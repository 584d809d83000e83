"""A pool of processes for CPU work: each serves one request at a time and is replaced when it dies.

The program of such a process reads requests as JSON lines on its standard input. It answers each with lines of progress
and one final line with the result (see `service/datasets/processes/main.py`).
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias

import msgspec

from service.datasets.processes.main import Answer, Failed, Progress, Request

MAX_ANSWER_BYTES = 256 * 1024 * 1024
EXIT_WAIT_SECONDS = 2.0
"""How long to wait for the exit of a process that was killed."""

SILENCE_SECONDS = 600.0
"""A process that writes nothing for this time, not even progress, hangs."""

OnProgress: TypeAlias = Callable[[int], Awaitable[None]]
"""Called with the number of bytes done so far."""


class WorkFailed(Exception):
    """There is no result: the process died or hangs, or the dataset cannot be read since the store is unavailable."""

    def __init__(self, error: str, *, store_unavailable: bool = False) -> None:
        super().__init__(error)
        self.store_unavailable = store_unavailable


class ProcessPool:
    """A fixed number of processes of one program, each started when it is first needed."""

    def __init__(self, *, processes: int, module: str, arguments: tuple[str, ...]) -> None:
        self._command = (sys.executable, "-m", module, *arguments)
        self._slots = asyncio.Semaphore(processes)
        self._idle: list[asyncio.subprocess.Process] = []
        self._all: set[asyncio.subprocess.Process] = set()

    async def warm(self) -> None:
        """Start one process before the first request, so that the request need not wait for the imports."""
        self._idle.append(await self._start())

    async def ask(self, request: Request, progress: OnProgress) -> Answer:
        """The answer to one request; `progress` is called with the bytes done so far. Raises `WorkFailed`.

        Cancelling the call kills the process, since its work cannot be interrupted otherwise.
        """
        async with self._slots:
            process = await self._next()
            try:
                answer = await _ask(process, request, progress)
            except BaseException:
                await self._end(process)
                raise
            self._idle.append(process)
        if isinstance(answer, Failed):
            raise WorkFailed(answer.error, store_unavailable=answer.store_unavailable)
        return answer

    async def close(self) -> None:
        """End every process."""
        for process in list(self._all):
            await self._end(process)

    async def _next(self) -> asyncio.subprocess.Process:
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
            self._all.discard(process)
        return await self._start()

    async def _start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=MAX_ANSWER_BYTES,
        )
        self._all.add(process)
        return process

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        self._all.discard(process)
        if process in self._idle:
            self._idle.remove(process)
        if process.returncode is None:
            process.kill()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), EXIT_WAIT_SECONDS)


_ANSWER: Any = Answer


async def _ask(process: asyncio.subprocess.Process, request: Request, progress: OnProgress) -> Answer:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("A process was started without pipes.")
    try:
        process.stdin.write(msgspec.json.encode(request) + b"\n")
        await process.stdin.drain()
        while line := await asyncio.wait_for(process.stdout.readline(), SILENCE_SECONDS):
            answer: Answer = msgspec.json.decode(line, type=_ANSWER)
            if not isinstance(answer, Progress):
                return answer
            await progress(answer.done_bytes)
    except (BrokenPipeError, ConnectionResetError):
        pass
    except TimeoutError:
        raise WorkFailed("the process hangs") from None
    raise WorkFailed("the process ended before its answer")
