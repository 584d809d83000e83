"""The limits of time, memory and disk of work on a dataset, and the sentence about one that was reached. Pure."""

from service.processes.guard import LimitReached
from service.settings import Settings

BYTES_PER_UNIT = 100_000_000
"""The size for which `TUNEGATE_DATASET_CPU_SECONDS` is the limit; a larger file gets more in proportion."""


def cpu_seconds(settings: Settings, size_bytes: int) -> float:
    """The processor time that one process may take for a dataset of this size."""
    return settings.dataset_cpu_seconds * (1 + size_bytes / BYTES_PER_UNIT)


def disk_bytes(settings: Settings, size_bytes: int) -> int:
    """The bytes of temporary files and results that a preparation of a file of this size may write."""
    return settings.dataset_disk_bytes + 4 * size_bytes


def limit_reason(reached: LimitReached, settings: Settings) -> str:
    """Which limit a dataset reached, its value and setting, what was being done, and what to do."""
    if reached.limit == "memory":
        value = f"memory ({settings.dataset_memory_bytes >> 20:,} MiB, TUNEGATE_DATASET_MEMORY_BYTES)"
    else:
        value = f"processor time (TUNEGATE_DATASET_CPU_SECONDS is {settings.dataset_cpu_seconds:g}; parts have less)"
    return f"The limit of {value} was reached: {reached.label}. Split the file, or shorten its longest values."
