"""The processor time of the programs that take part in a benchmark, with the processes that they have started."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def tree_cpu_seconds(pid: int) -> float:
    """The CPU time that a process and all that it has started have used, those that have ended included."""
    fields = _fields(pid)
    used = sum(map(int, fields[11:15])) / _TICKS
    return used + sum(map(tree_cpu_seconds, children(pid)))


def children(pid: int) -> list[int]:
    """The processes that a process has started and that run."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def child_named(name: str) -> int:
    """The process of this one's whose program has this name, such as `postgres`. Raises `LookupError`."""
    for pid in children(os.getpid()):
        if Path(f"/proc/{pid}/comm").read_text().startswith(name):
            return pid
    raise LookupError(f"this process has not started {name}")


def _fields(pid: int) -> list[str]:
    """The fields of `/proc/PID/stat` from the third on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
