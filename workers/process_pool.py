"""Processes for CPU work: each serves one request at a time and is replaced when it dies.

A program of this kind reads requests as JSON lines on its input, and answers each with lines of progress and one of
another shape at the end (see `service/datasets/processes/main.py`).
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec

from service.datasets.processes.main import Answer, Failed, Progress, Request

MAX_ANSWER_BYTES = 256 * 1024 * 1024
ENDING_SECONDS = 2.0
"""So long is waited for one that was killed; it goes without that, too."""

SILENCE_SECONDS = 600.0
"""A process that says nothing for so long, not even how far it is, hangs."""


class WorkFailed(Exception):
    """There is no answer: the process died or hangs, or the dataset cannot be read since the store is away."""

    def __init__(self, error: str, *, store_unavailable: bool = False) -> None:
        super().__init__(error)
        self.store_unavailable = store_unavailable


class ProcessPool:
    """A few processes of one program, started when first needed."""

    def __init__(self, *, processes: int, module: str, arguments: tuple[str, ...]) -> None:
        self._command = (sys.executable, "-m", module, *arguments)
        self._slots = asyncio.Semaphore(processes)
        self._idle: list[asyncio.subprocess.Process] = []
        self._all: set[asyncio.subprocess.Process] = set()

    async def warm(self) -> None:
        """Start one process ahead of the first request, so that it need not wait for the imports."""
        self._idle.append(await self._start())

    async def ask(self, request: Request, progress: Callable[[int], Awaitable[None]]) -> Answer:
        """The answer to one request; `progress` hears of bytes done. Raises `WorkFailed`.

        A caller that gives up (is cancelled) ends the process, since its work cannot be interrupted otherwise.
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
                await asyncio.wait_for(process.wait(), ENDING_SECONDS)


_ANSWER: Any = Answer


async def _ask(
    process: asyncio.subprocess.Process, request: Request, progress: Callable[[int], Awaitable[None]]
) -> Answer:
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
