"""The processes that compile and evaluate what callers wrote: schemas, patterns, graders.

Nothing of that is evaluated in a process of the API or of a worker itself: it can take any time and memory, and much of
it cannot be interrupted. `evaluation_program` is the program; `comparisons` and `generations` define its requests.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import msgspec

from service.errors import InvalidRequest, RateLimited, Unavailable
from service.fair_places import PlacesFull
from service.processes.guard import LimitReached
from service.processes.pool import ProcessPool, WorkFailed
from service.settings import Settings

PROGRAM = "service.runs.evaluation_program"

CHECK_SECONDS = 2.0
"""The processor time of all checks of one request, which a caller waits for."""

MAX_WAITING_CHECKS = 16
"""Checks of a project that may wait for a process of the API."""

REQUEST_BYTES = 4 << 20
"""About how much is encoded, and sent to a process, at once."""

_MAX_REMEMBERED = 1_000

Expected = TypeVar("Expected")
Item = TypeVar("Item")


class Checked(msgspec.Struct, frozen=True):
    """What is wrong and where, a path such as `[0].schema`; None if nothing is."""

    message: str | None = None
    place: str = ""


class Evaluator:
    """The evaluation processes of one process of the API or of a worker. They start when they are first needed.

    `max_waiting` requests of a project may wait for a process; None: no limit, as for a worker, whose runs are limited.
    """

    def __init__(self, *, processes: int, seconds: float, memory_bytes: int, max_waiting: int | None = None) -> None:
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._pool: ProcessPool[msgspec.Struct, msgspec.Raw] = ProcessPool(
            PROGRAM,
            answer_type=msgspec.Raw,
            processes=processes,
            memory_bytes=memory_bytes,
            arguments=(str(seconds),),
            max_waiting=max_waiting,
        )
        self._valid: OrderedDict[bytes, None] = OrderedDict()

    @classmethod
    def from_settings(cls, settings: Settings, *, max_waiting: int | None = None) -> "Evaluator":
        """The processes as the settings say."""
        return cls(
            processes=settings.evaluation_processes,
            seconds=settings.evaluation_seconds,
            memory_bytes=settings.evaluation_memory_bytes,
            max_waiting=max_waiting,
        )

    async def ask(self, request: msgspec.Struct, expected: type[Expected], *, project_id: str) -> Expected:
        """The answer to a request of the program. Raises `LimitReached`, `WorkFailed` and `PlacesFull`."""
        return msgspec.json.decode(await self._pool.ask(request, project_id=project_id), type=expected)

    async def check(self, request: msgspec.Struct, *, project_id: str, param: str, code: str) -> None:
        """Have something checked; what was found valid is remembered, as for the create after a quote.

        Raises `InvalidRequest` with the place at fault, `RateLimited` when too many checks of the project wait, and
        `Unavailable`.
        """
        digest = hashlib.sha256(msgspec.json.encode(request)).digest()
        if digest in self._valid:
            self._valid.move_to_end(digest)
            return
        try:
            checked = await self.ask(request, Checked, project_id=project_id)
        except LimitReached as reached:
            message = f"Checking it took more than {self._limit(reached, CHECK_SECONDS)}: {reached.label}. Simplify it."
            raise InvalidRequest(message, param=param, code=code) from None
        except PlacesFull:
            raise RateLimited(
                f"{MAX_WAITING_CHECKS} requests of the project wait to be checked. Send fewer at a time.",
                param=param,
                retry_after_seconds=1,
            ) from None
        except WorkFailed:
            raise Unavailable("The request could not be checked. Try again.", retry_after_seconds=1) from None
        if checked.message is not None:
            raise InvalidRequest(checked.message, param=f"{param}{checked.place}", code=code)
        self._valid[digest] = None
        if len(self._valid) > _MAX_REMEMBERED:
            self._valid.popitem(last=False)

    def explain(self, reached: LimitReached) -> str:
        """The limit that an evaluation reached, its value and what was being done."""
        return (
            f"An evaluation took more than {self._limit(reached, self._seconds)}: {reached.label}. "
            "Simplify the schema or the pattern."
        )

    async def close(self) -> None:
        """End every process."""
        await self._pool.close()

    def _limit(self, reached: LimitReached, seconds: float) -> str:
        if reached.limit == "memory":
            return f"{self._memory_bytes >> 20:,} MiB of memory (TUNEGATE_EVALUATION_MEMORY_BYTES)"
        return f"{min(seconds, self._seconds):g} seconds of processor time (TUNEGATE_EVALUATION_SECONDS)"


def portions(items: Iterable[Item], size_bytes: Callable[[Item], int]) -> Iterator[list[Item]]:
    """The items in lists of about `REQUEST_BYTES`, so that encoding one does not stop the event loop."""
    portion: list[Item] = []
    total_bytes = 0
    for item in items:
        portion.append(item)
        total_bytes += size_bytes(item)
        if total_bytes >= REQUEST_BYTES:
            yield portion
            portion, total_bytes = [], 0
    if portion:
        yield portion
