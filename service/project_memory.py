"""The memory that one project's bodies and answers occupy in a process, counted before they are stored.

What is counted is an estimate of memory and not of bytes sent: a body counts twice, once as it came and once decoded,
and each of its values with `VALUE_BYTES` more.
"""

from collections import Counter
from types import TracebackType

from service.errors import RateLimited
from service.json_limits import VALUE_BYTES

COPIES = 2


class ProjectMemory:
    """Counts memory for each project of one process, up to `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._occupied: Counter[str] = Counter()

    def reservation(self, project_id: str) -> "MemoryReservation":
        """A reservation of nothing yet, for one request or call."""
        return MemoryReservation(self, project_id)

    def occupied_by(self, project_id: str) -> int:
        """The bytes that a project occupies now."""
        return self._occupied[project_id]

    def change(self, project_id: str, size_bytes: int) -> None:
        """Occupy bytes, or release them if `size_bytes` is negative. Raises `RateLimited`."""
        if size_bytes > 0 and self._occupied[project_id] + size_bytes > self.max_bytes:
            raise RateLimited(
                f"The bodies and answers of this project's requests may occupy {self.max_bytes:,} bytes of memory in "
                "one process (TUNEGATE_MAX_PROJECT_MEMORY_BYTES), and those in progress leave too little. Send fewer "
                "or smaller ones at a time.",
                code="memory_limit_exceeded",
                retry_after_seconds=1,
            )
        self._occupied[project_id] += size_bytes
        if self._occupied[project_id] <= 0:
            del self._occupied[project_id]


class MemoryReservation:
    """What one request or call occupies. A context manager, which releases everything at its end."""

    def __init__(self, memory: ProjectMemory, project_id: str) -> None:
        self._memory = memory
        self._project_id = project_id
        self._size_bytes = 0
        self._prepaid_bytes = 0

    def __enter__(self) -> "MemoryReservation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def add(self, size_bytes: int) -> None:
        """Occupy more, or what was prepaid. Raises `RateLimited`."""
        missing = max(0, size_bytes - self._prepaid_bytes)
        self._memory.change(self._project_id, missing)
        self._size_bytes += missing
        self._prepaid_bytes -= size_bytes - missing

    def prepay(self, size_bytes: int) -> None:
        """Occupy now what `add` will need later, when a refusal would be too late. Raises `RateLimited`."""
        self._memory.change(self._project_id, size_bytes)
        self._size_bytes += size_bytes
        self._prepaid_bytes += size_bytes

    def add_json(self, size_bytes: int) -> None:
        """Occupy what bytes of JSON will need, now and decoded. Raises `RateLimited`."""
        self.add(COPIES * size_bytes)

    def add_values(self, values: int) -> None:
        """Occupy what the values of JSON will need. Raises `RateLimited`."""
        self.add(VALUE_BYTES * values)

    def release(self) -> None:
        """Release everything."""
        self._memory.change(self._project_id, -self._size_bytes)
        self._size_bytes = self._prepaid_bytes = 0
