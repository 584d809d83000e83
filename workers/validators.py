"""The processes that make reports: each serves one dataset at a time and is replaced when it dies."""

import asyncio
import sys
from collections.abc import Awaitable, Callable

import msgspec

from service.datasets.report_schema import FileReport
from service.datasets.validation import Answer, Request

MAX_ANSWER_BYTES = 256 * 1024 * 1024
ENDING_SECONDS = 2.0
SILENCE_SECONDS = 600.0
"""A process that says nothing for so long, not even how far it is, hangs."""


class ValidationFailed(Exception):
    """The report could not be made: the process died, or the dataset cannot be read."""


class Validators:
    """A few validating processes, started when first needed."""

    def __init__(self, *, processes: int, storage_url: str, models_file: str) -> None:
        self._arguments = (storage_url, models_file)
        self._slots = asyncio.Semaphore(processes)
        self._idle: list[asyncio.subprocess.Process] = []
        self._all: set[asyncio.subprocess.Process] = set()

    async def warm(self) -> None:
        """Start one process ahead of the first dataset, so that it need not wait for the imports."""
        self._idle.append(await self._start())

    async def report(self, request: Request, progress: Callable[[int], Awaitable[None]]) -> FileReport:
        """The report of one dataset; `progress` hears of bytes done. Raises `ValidationFailed`.

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
        if answer.report is None:
            raise ValidationFailed(answer.error or "no report")
        return answer.report

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
            sys.executable,
            "-m",
            "service.datasets.validation",
            *self._arguments,
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
            await asyncio.wait_for(process.wait(), ENDING_SECONDS)


async def _ask(
    process: asyncio.subprocess.Process, request: Request, progress: Callable[[int], Awaitable[None]]
) -> Answer:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("A validator was started without pipes.")
    try:
        process.stdin.write(msgspec.json.encode(request) + b"\n")
        await process.stdin.drain()
        while line := await asyncio.wait_for(process.stdout.readline(), SILENCE_SECONDS):
            answer = msgspec.json.decode(line, type=Answer)
            if answer.progress_bytes is None:
                return answer
            await progress(answer.progress_bytes)
    except (BrokenPipeError, ConnectionResetError):
        pass
    except TimeoutError:
        raise ValidationFailed("the validating process hangs") from None
    raise ValidationFailed("the validating process ended before its answer")
