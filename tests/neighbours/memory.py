"""The memory of the service's processes and of all that they start, as the kernel counts it."""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

SAMPLE_SECONDS = 0.1
RESET_PEAK = "5"
"""What resets `VmHWM` (proc(5), clear_refs)."""


class Peaks(dict[str, int]):
    """For each program, by its label, the largest peak of one of its processes in MB."""

    def growth(self, quiet: "Peaks") -> dict[str, int]:
        """By how much each has grown over its quiet level.

        A program that does not run in quiet times is compared with those that do beside it: they have the same imports.
        """
        return {label: peak - quiet.get(label, quiet._like(label)) for label, peak in self.items()}

    def _like(self, label: str) -> int:
        parent = label.partition("/")[0]
        return max((peak for other, peak in self.items() if other.startswith(f"{parent}/")), default=0)


@asynccontextmanager
async def peaks_of(roots: Mapping[str, int]) -> AsyncIterator[Peaks]:
    """Measure until the block ends; `roots` are the pids of the API and the worker."""
    peaks = Peaks()
    for pid, _ in _tree(roots):
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)

    async def measure() -> None:
        while True:
            await asyncio.to_thread(_sample, roots, peaks)
            await asyncio.sleep(SAMPLE_SECONDS)

    measuring = asyncio.create_task(measure())
    try:
        yield peaks
    finally:
        measuring.cancel()
        await asyncio.gather(measuring, return_exceptions=True)
        _sample(roots, peaks)


def resident_mb(pid: int) -> int:
    """What a process occupies now."""
    return _field(pid, "VmRSS")


def connections_to(port: int) -> int:
    """Established connections to a port of this machine."""
    wanted = f"{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{wanted}") and row[3] == "01" for row in rows)


def _sample(roots: Mapping[str, int], peaks: Peaks) -> None:
    for pid, label in _tree(roots):
        with suppress(OSError):
            peaks[label] = max(peaks.get(label, 0), _field(pid, "VmHWM"))


def _tree(roots: Mapping[str, int]) -> list[tuple[int, str]]:
    """Every process under the roots, with a label such as `worker/service.processes.program`."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
                children[parent].append(int(entry))
    found, under = [], [(pid, name, name) for name, pid in roots.items()]
    while under:
        pid, label, root = under.pop()
        found.append((pid, label))
        under += [(child, f"{root}/{_program(child)}", root) for child in children[pid]]
    return found


def _program(pid: int) -> str:
    """The module that a process runs, or its program."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return "ended"
    if "-m" in command:
        return command[command.index("-m") + 1]
    return Path(command[0]).name


def _field(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) >> 10
    return 0
