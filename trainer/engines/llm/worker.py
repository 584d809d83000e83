"""The thread that owns all weights. It takes one token of each running answer in turn.

So answers of several adapters on one base never compute at the same time, and each gets exactly what it gets alone:
batching them would let the rounding of their sums depend on the load.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import torch

from ..port import Busy, Piece
from .sequence import Sequence
from .weights_memory import Loaded, Source, WeightsMemory

MAX_RUNNING = 8
"""Answers that take their tokens in turn."""
MAX_WAITING = 24
"""Answers that wait for their turn or for memory; another is refused."""
_HEARTBEAT_SECONDS = 0.2
_log = logging.getLogger("trainer")


@dataclass(eq=False, slots=True)
class _Channel:
    """What worker and reader of an answer share."""

    pieces: queue.SimpleQueue[Piece | Exception] = field(default_factory=queue.SimpleQueue)
    closed: bool = False


@dataclass(eq=False, slots=True)
class _Job:
    source: Source
    sequence: Sequence
    cache_bytes: int
    channel: _Channel
    loaded: Loaded | None = None


class Stream(Iterator[Piece]):
    """The pieces of one answer, and empty ones while it waits, so that its reader can notice that its caller hung up.

    An answer whose stream is closed, or no longer referred to, ends before its next token.
    """

    def __init__(self, channel: _Channel) -> None:
        self._channel = channel
        self._ended = False

    def __next__(self) -> Piece:
        if self._ended:
            raise StopIteration
        try:
            piece = self._channel.pieces.get(timeout=_HEARTBEAT_SECONDS)
        except queue.Empty:
            return Piece(b"")
        if isinstance(piece, Exception):
            self._ended = True
            raise piece
        self._ended = piece.finish is not None
        return piece

    def close(self) -> None:
        """End the answer."""
        self._ended = self._channel.closed = True

    __del__ = close


class Worker:
    """Runs answers; `submit` and `close` may be called from any thread."""

    def __init__(
        self, memory: WeightsMemory, *, max_running: int = MAX_RUNNING, max_waiting: int = MAX_WAITING
    ) -> None:
        self._memory, self._max_running, self._max_waiting = memory, max_running, max_waiting
        self._waiting: deque[_Job] = deque()
        self._running: list[_Job] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False

    def submit(self, source: Source, sequence: Sequence, *, cache_bytes: int) -> Stream:
        """Let an answer wait for its turn. Its stream raises what `WeightsMemory` raises. Raises Busy at the bound."""
        channel = _Channel()
        with self._changed:
            if len(self._waiting) >= self._max_waiting:
                self._waiting = deque(job for job in self._waiting if not job.channel.closed)
            if len(self._waiting) >= self._max_waiting:
                raise Busy(f"{self._max_waiting} requests wait already, as many as this trainer admits.")
            self._waiting.append(_Job(source, sequence, cache_bytes, channel))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="generation", daemon=True)
                self._thread.start()
            self._changed.notify()
        return Stream(channel)

    def close(self) -> None:
        """End all answers and the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closing:
            self._admit()
            for job in self._running:
                self._advance(job)
            self._running = [job for job in self._running if job.loaded is not None]
            with self._changed:
                while not self._closing and not self._running and not self._waiting:
                    self._changed.wait()

    def _admit(self) -> None:
        """Load what the next ones need, in their order: the first that must wait for memory lets all others wait."""
        while len(self._running) < self._max_running:
            with self._changed:
                if not self._waiting:
                    return
                job = self._waiting[0]
            try:
                if not job.channel.closed:
                    self._start(job)
            except Busy:
                return
            except Exception as error:  # a broken model fails its own request, never the thread
                job.channel.pieces.put(error)
            with self._changed, suppress(ValueError):  # `submit` may have removed it, whose caller hung up
                self._waiting.remove(job)

    def _start(self, job: _Job) -> None:
        loaded = self._memory.acquire(job.source)
        try:
            self._memory.reserve(job.cache_bytes)
        except BaseException:
            self._memory.release(loaded)
            raise
        job.loaded = loaded
        self._running.append(job)
        self._running.sort(key=lambda each: str(each.source.weights))

    def _advance(self, job: _Job) -> None:
        assert job.loaded is not None
        try:
            if job.channel.closed:
                self._end(job)
                return
            piece = job.sequence.advance(job.loaded.activate())
        except Exception as error:  # as above
            if isinstance(error, torch.OutOfMemoryError):
                error = Busy("The device has no memory left for this answer.")
            self._end(job)
            job.channel.pieces.put(error)
        else:
            if piece.finish is not None:
                self._end(job)
            job.channel.pieces.put(piece)

    def _end(self, job: _Job) -> None:
        assert job.loaded is not None
        self._memory.give_back(job.cache_bytes)
        self._memory.release(job.loaded)
        job.loaded = None
        job.sequence.forget()
