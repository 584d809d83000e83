"""Limits of a process that works on what a caller wrote, and the record of what it was doing when a limit ended it.

A validator or a parser that is written in C or Rust cannot be interrupted from Python, so a limit of time ends the
whole process: `guarded` arms a timer of processor time whose signal (SIGPROF) has its default action. The process that
started it reads the record, which is in memory that both share, and can say what took too long. Arming a timer takes
about a microsecond.

A limit of memory is the address space that the process may add (RLIMIT_AS). Python raises `MemoryError`; an extension
in Rust aborts the process, which the record explains as well.
"""

import math
import mmap
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Literal

from service.errors import TunegateError

LABEL_BYTES = 512

Limit = Literal["time", "memory"]

_LEAST_SECONDS = 1e-6
"""A timer of zero seconds would be none."""

_STATM = Path("/proc/self/statm")
_MEMORY_SIGNALS = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS)
"""How a process ends whose extension cannot allocate, or whose stack overflows."""


class LimitReached(TunegateError):
    """A caller's input needed more time or memory than it may. `label` says what was being done, in words."""

    def __init__(self, limit: Limit, label: str) -> None:
        super().__init__(limit, label)
        self.limit: Limit = limit
        self.label = label

    def __str__(self) -> str:
        return f"the limit of {self.limit} was reached: {self.label}"


class Record:
    """What a process is doing now, in memory that it shares with the one that started it. Empty: nothing guarded."""

    def __init__(self, memory: mmap.mmap | None = None) -> None:
        self._memory = memory or mmap.mmap(-1, LABEL_BYTES)
        self.label = ""
        """What this process has written."""

    @classmethod
    def opened(cls, fd: int) -> "Record":
        """The record in an inherited file of `LABEL_BYTES` bytes."""
        return cls(mmap.mmap(fd, LABEL_BYTES))

    def write(self, label: str) -> None:
        """Replace the label; long ones are cut."""
        self.label = label
        self._memory[:] = label.encode("utf-8", "replace")[:LABEL_BYTES].ljust(LABEL_BYTES, b"\0")

    def read(self) -> str:
        """The label."""
        return self._memory[:].rstrip(b"\0").decode("utf-8", "ignore")

    def close(self) -> None:
        """Unmap the memory."""
        self._memory.close()


_record: Record | None = None
"""The record of this process; None in a process that no pool started, which has no limits."""

_ends_at = math.inf
"""The processor time of this process at which the innermost block ends it. The timer cannot be asked: it counts in
ticks of some milliseconds, so the time of many short blocks would not add up."""


def use_record(record: Record) -> None:
    """Make this the record of the process, which is in no block yet."""
    global _record, _ends_at
    _record, _ends_at = record, math.inf


class guarded:
    """End the process if the block takes more than `cpu_seconds` of processor time. `label` says what it does.

    Raises `LimitReached` for a `MemoryError`. Blocks can be nested: the inner label is appended to the outer one, and
    an inner block has at most the time that the outer one has left. Without a record the block runs without a limit.
    """

    __slots__ = ("_cpu_seconds", "_label", "_outer_ends_at", "_outer_label")

    def __init__(self, label: str, *, cpu_seconds: float) -> None:
        self._label, self._cpu_seconds = label, cpu_seconds

    def __enter__(self) -> None:
        if _record is None:
            return
        self._outer_label, self._outer_ends_at = _record.label, _ends_at
        self._label = f"{self._outer_label}: {self._label}" if self._outer_label else self._label
        _record.write(self._label)
        _end_at(min(_ends_at, time.process_time() + self._cpu_seconds))

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        if _record is not None:
            _end_at(self._outer_ends_at)
            _record.write(self._outer_label)
        if kind is not None and issubclass(kind, MemoryError):
            raise LimitReached("memory", self._label) from None


def current() -> tuple[str, float]:
    """The label and the processor seconds left of the block that this process is in; infinite outside of one."""
    return _record.label if _record is not None else "", max(_ends_at - time.process_time(), _LEAST_SECONDS)


def _end_at(ends_at: float) -> None:
    global _ends_at
    _ends_at = ends_at
    signal.setitimer(signal.ITIMER_PROF, current()[1] if ends_at < math.inf else 0)


def limit_memory(added_bytes: int) -> None:
    """Let this process add at most `added_bytes` to its address space. Without effect where /proc is missing."""
    if not sys.platform.startswith("linux") or not _STATM.exists():
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (_pages(0) * mmap.PAGESIZE + added_bytes, hard))


def resident_bytes() -> int:
    """The memory that this process occupies; 0 where /proc is missing."""
    return _pages(1) * mmap.PAGESIZE if _STATM.exists() else 0


def _pages(column: int) -> int:
    return int(_STATM.read_text(encoding="ascii").split()[column])


def reason_of_end(exit_code: int | None, record: Record) -> LimitReached | None:
    """The limit that ended a process (`exit_code` negative: by that signal); None for any other end."""
    label = record.read()
    if exit_code is None or exit_code >= 0 or not label:
        return None
    if -exit_code == signal.SIGPROF:
        return LimitReached("time", label)
    return LimitReached("memory", label) if -exit_code in _MEMORY_SIGNALS else None
