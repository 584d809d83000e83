"""Several API processes on one listener: forks them, replaces one that ends or hangs, and stops them together.

Each process is a fork of this one, which has the imports and the routes ready: they share that memory, and a
replacement serves within a fraction of a second. Event loops and connections are made after the fork. The kernel gives
each connection to one of the processes that accept, so none waits for a process that is gone.

`uvicorn --workers` is not used: docs/decisions/api-processes.md says why.
"""

import gc
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.context import ForkProcess
from socket import SHUT_RDWR, socket
from types import FrameType

import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from cli.guard import die_with_parent
from cli.supervisor import STEADY_SECONDS, restart_delay_seconds

log = structlog.get_logger()

TICK_SECONDS = 0.1
SILENT_SECONDS = 30.0
"""A process whose event loop did nothing for this time is killed. Kubernetes' probes restart a container as late."""

ABORT = signal.SIGUSR1
"""Tells a process to end at once. Not a second SIGTERM: systemd sends the first one to every process itself."""

HANDLED_IN_CHILD = (signal.SIGTERM, ABORT)


@dataclass(slots=True)
class _Running:
    """A process, and the pipe on which it reports every second that its event loop works."""

    process: ForkProcess
    beats: int
    started_at: float
    serves: bool = False
    silent_seconds: float = 0.0


@dataclass(slots=True)
class _Place:
    """One in the row of processes."""

    number: int
    running: _Running | None = None
    start_due_at: float = 0.0
    early_deaths: int = 0


class ApiProcesses:
    """Runs `count` processes that serve `config` on `sockets`. One thread makes and uses it (`die_with_parent`).

    `on_fork` is called in each process with its place in the row, `on_serving` here once the first one serves.
    `end_seconds` is how long the processes may take after a stop signal; a second one aborts them. A process whose
    event loop does nothing for `silent_seconds` is replaced. Sockets that it does not own, such as systemd's, still
    accept connections after it has ended.
    """

    def __init__(
        self,
        count: int,
        config: uvicorn.Config,
        sockets: Sequence[socket],
        *,
        on_fork: Callable[[int], None],
        end_seconds: float,
        silent_seconds: float = SILENT_SECONDS,
        owns_sockets: bool = True,
        on_serving: Callable[[], None] = lambda: None,
    ) -> None:
        self._places = [_Place(number) for number in range(count)]
        self._config = config
        self._sockets = sockets
        self._owns_sockets = owns_sockets
        self._on_fork = on_fork
        self._on_serving = on_serving
        self._end_seconds = end_seconds
        self._silent_seconds = silent_seconds
        self._stop_signals = 0
        self._has_served = self._start_failed = False

    def run(self) -> int:
        """Run them until SIGTERM or Ctrl-C. Returns the exit status, which is not 0 if none of them could start."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._count_signal)
        gc.freeze()  # collecting what exists before the fork would copy its memory
        ticked_at = time.monotonic()
        while not self._stop_signals and not self._start_failed:
            for place in self._places:
                self._ensure_running(place)
            self._wait()
            now = time.monotonic()
            self._kill_silent(min(now - ticked_at, 1.0))  # without a time in which this process was suspended
            ticked_at = now
        self._stop()
        return STARTUP_FAILURE if self._start_failed else 0

    def _count_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_signals += 1

    def _running(self) -> list[_Running]:
        return [place.running for place in self._places if place.running is not None]

    def _ensure_running(self, place: _Place) -> None:
        now = time.monotonic()
        if place.running is not None and place.running.process.exitcode is not None:
            self._record_end(place, place.running, now)
            place.running = None
        if place.running is None and now >= place.start_due_at and not self._start_failed:
            place.running = self._start(place.number)

    def _record_end(self, place: _Place, ended: _Running, now: float) -> None:
        # What the first process lacks at its start, a later one would lack too.
        self._start_failed |= ended.process.exitcode == STARTUP_FAILURE and not self._has_served
        place.early_deaths = 0 if now - ended.started_at >= STEADY_SECONDS else place.early_deaths + 1
        delay = restart_delay_seconds(max(0, place.early_deaths - 1))
        place.start_due_at = now + delay
        log.error(
            "api_process.ended",
            pid=ended.process.pid,
            exit_status=ended.process.exitcode,
            early_deaths=place.early_deaths,
            replaced_in_seconds=delay,
        )
        os.close(ended.beats)

    def _start(self, number: int) -> _Running:
        beats, beating = os.pipe()
        os.set_blocking(beats, False)
        os.set_blocking(beating, False)
        process = get_context("fork").Process(target=self._serve, args=(number, beats, beating, os.getpid()))
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED_IN_CHILD)  # until the child has handlers of its own
        process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_IN_CHILD)
        os.close(beating)
        log.info("api_process.started", pid=process.pid)
        return _Running(process, beats, time.monotonic())

    def _serve(self, number: int, own_beats: int, beating: int, parent: int) -> None:
        die_with_parent(parent, signal.SIGKILL)
        for beats in (own_beats, *(each.beats for each in self._running())):
            os.close(beats)
        self._on_fork(number)

        async def beat() -> None:
            with suppress(BlockingIOError):
                os.write(beating, b".")

        self._config.callback_notify, self._config.timeout_notify = beat, 0
        server = _Server(self._config)
        signal.signal(signal.SIGTERM, server.handle_exit)
        signal.signal(signal.SIGINT, server.handle_exit)
        signal.signal(ABORT, server.abort)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_IN_CHILD)
        server.run(sockets=list(self._sockets))

    def _wait(self) -> None:
        """Wait for a moment, or until a process has something to report or ends."""
        running = self._running()
        connection.wait([*(each.process.sentinel for each in running), *(each.beats for each in running)], TICK_SECONDS)
        for each in running:
            with suppress(BlockingIOError):
                if os.read(each.beats, 4096):
                    each.serves, each.silent_seconds = True, 0.0
                    if not self._has_served:
                        self._on_serving()
                    self._has_served = True

    def _kill_silent(self, elapsed_seconds: float) -> None:
        for each in self._running():
            each.silent_seconds += elapsed_seconds
            if each.serves and each.silent_seconds >= self._silent_seconds:
                log.error("api_process.silent", pid=each.process.pid, seconds=self._silent_seconds)
                each.process.kill()
                each.process.join()

    def _stop(self) -> None:
        for listener in self._sockets:  # the last process that closes it ends new connections
            if self._owns_sockets:
                with suppress(OSError):  # one that hangs would accept connections and answer none
                    listener.shutdown(SHUT_RDWR)
            listener.close()
        processes = [each.process for each in self._running()]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + self._end_seconds
        aborted = False
        while (alive := [each for each in processes if each.is_alive()]) and time.monotonic() < deadline:
            if self._stop_signals > 1 and not aborted:
                aborted = True
                for process in alive:
                    os.kill(process.pid or 0, ABORT)
            connection.wait([process.sentinel for process in alive], TICK_SECONDS)
        for process in alive:
            log.error("api_process.killed", pid=process.pid, seconds=self._end_seconds)
            process.kill()
            process.join()


class _Server(uvicorn.Server):
    """A server that its parent process stops."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Finish what is in progress at SIGTERM, however often it comes; Ctrl-C reaches the parent too."""
        if sig == signal.SIGTERM:
            self.should_exit = True

    def abort(self, sig: int, frame: FrameType | None) -> None:
        """End without finishing it."""
        self.should_exit = self.force_exit = True
