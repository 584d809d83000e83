"""Runs a function on tasks in several processes and yields the results in the order of the tasks.

The worker processes are forked from this one, so that they start at once, share loaded data and compute the same
hashes. A fork copies only one thread, so the work must not depend on threads that an import has started. The workers
end when this process ends, for any reason, because their pipes close then. A worker that reaches a limit of time or
memory (`service/processes/guard.py`) ends the whole map with `LimitReached`; each may take as much processor time as
this process has left.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from service.processes.guard import LimitReached, Record, current, guarded, reason_of_end, use_record

_ENDED = "a process ended before it sent its result; the system may have ended it to free memory"

T = TypeVar("T")
R = TypeVar("R")

MAX_QUEUED_PER_WORKER = 4
_MAX_UNYIELDED_PER_WORKER = 8
_SHUTDOWN_SECONDS = 5.0
_PIPE_BYTES = 1 << 20
_GC_THRESHOLD = 50_000


class ProcessEnded(RuntimeError):
    """A process ended before it sent its result, and not at a limit of its own: the system may have killed it."""


def usable_cores() -> int:
    """The number of CPU cores that this process may use; 1 on systems that cannot fork."""
    if "fork" not in multiprocessing.get_all_start_methods():
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def map_in_order(tasks: Iterable[T], work: Callable[[T], R], *, processes: int) -> Iterator[Iterator[R]]:
    """`map(work, tasks)` in forked processes, or in this process if `processes` is 1. Errors of `work` are raised here.

    Tasks are taken one by one as workers have capacity, so a later task may depend on earlier results. The processes
    start when the context is entered and end with it.
    """
    if processes <= 1:
        yield map(work, tasks)
        return
    with ProcessPool(work, processes) as pool:
        yield pool.run(iter(tasks))


class ProcessPool(Generic[T, R]):
    """Forked processes that run one function. `map_in_order` is the way to use it."""

    def __init__(self, work: Callable[[T], R], processes: int) -> None:
        self._workers: list[_Worker[T]] = []
        inherited: list[Connection[Any, Any]] = []
        for _ in range(processes):
            worker = _Worker(work, inherited)
            inherited += worker.parent_ends
            self._workers.append(worker)
        for worker in self._workers:
            worker.start_feeder()

    def __enter__(self) -> ProcessPool[T, R]:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()

    def run(self, tasks: Iterator[T]) -> Iterator[R]:
        """Yields the result of each task, in the order of the tasks."""
        sent = yielded = 0
        more = True
        ready: dict[int, R] = {}
        while more or yielded < sent:
            for worker in sorted(self._workers, key=lambda worker: worker.waiting):
                while (
                    more
                    and worker.waiting < MAX_QUEUED_PER_WORKER
                    and sent - yielded < _MAX_UNYIELDED_PER_WORKER * len(self._workers)
                ):
                    try:
                        worker.send(sent, next(tasks))
                    except StopIteration:
                        more = False
                    else:
                        sent += 1
            for worker in _ready_workers(self._workers):
                number, result, error = worker.receive()
                if error is not None:
                    raise error
                ready[number] = result
            while yielded in ready:
                yield ready.pop(yielded)
                yielded += 1


class _Worker(Generic[T]):
    """One process of the pool. A thread sends its tasks, so that neither side blocks on a full pipe."""

    def __init__(self, work: Callable[[T], Any], inherited: list[Connection[Any, Any]]) -> None:
        tasks_in, self._tasks = multiprocessing.Pipe(duplex=False)
        self.results, results_out = multiprocessing.Pipe(duplex=False)
        self.parent_ends = [self._tasks, self.results]
        self.waiting = 0
        for end in self.parent_ends:
            _enlarge(end)
        self._queue: SimpleQueue[tuple[int, T] | None] = SimpleQueue()
        self._record = Record()
        self._feeder = threading.Thread(target=self._feed, name="feeder", daemon=True)
        self._process = multiprocessing.get_context("fork").Process(
            target=_run_worker,
            args=(work, (self._record, *current()), tasks_in, results_out, [*inherited, *self.parent_ends]),
            daemon=True,
        )
        self._process.start()
        tasks_in.close()
        results_out.close()

    def start_feeder(self) -> None:
        self._feeder.start()

    def send(self, number: int, task: T) -> None:
        self.waiting += 1
        self._queue.put((number, task))

    def receive(self) -> tuple[int, Any, BaseException | None]:
        try:
            result: tuple[int, Any, BaseException | None] = self.results.recv()
        except EOFError:
            self._process.join(_SHUTDOWN_SECONDS)
            reached = reason_of_end(self._process.exitcode, self._record)
            raise reached or ProcessEnded(
                "a process ended before it sent its result; the system may have ended it to free memory"
            ) from None
        self.waiting -= 1
        return result

    def stop(self) -> None:
        if self.waiting:
            self._process.terminate()
        self._queue.put(None)
        self._feeder.join(_SHUTDOWN_SECONDS)
        self._process.join(_SHUTDOWN_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self.results.close()
        self._record.close()

    def _feed(self) -> None:
        try:
            while (task := self._queue.get()) is not None:
                self._tasks.send(task)
        except OSError:
            return  # the process has ended; `receive` raises
        finally:
            self._tasks.close()


def _enlarge(pipe: Connection[Any, Any]) -> None:
    """Enlarges a pipe's buffer to hold a whole task or result, where supported (Linux), so that writes do not block."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _ready_workers(workers: list[_Worker[T]]) -> list[_Worker[T]]:
    """The workers that have sent a result or ended. Waits for one if any worker is busy."""
    busy = {worker.results: worker for worker in workers if worker.waiting}
    return [busy[connection] for connection in wait(list(busy)) if isinstance(connection, Connection)] if busy else []


def _run_worker(
    work: Callable[[T], Any],
    limits: tuple[Record, str, float],
    tasks: Connection[Any, Any],
    results: Connection[Any, Any],
    inherited: list[Connection[Any, Any]],
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for connection in inherited:
        connection.close()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    record, label, cpu_seconds = limits
    use_record(record)
    with suppress(EOFError, OSError), guarded(label, cpu_seconds=cpu_seconds):
        while True:
            number, task = tasks.recv()
            results.send((number, *_result(work, task, label)))


def _result(work: Callable[[T], R], task: T, label: str) -> tuple[R | None, Exception | None]:
    try:
        return work(task), None
    except MemoryError:
        return None, LimitReached("memory", label or "working on the file")
    except Exception as error:
        return None, error
