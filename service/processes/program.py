"""The loop of a pool's program: reads requests as JSON lines, answers with lines of progress and one final line."""

import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from service.processes.guard import Limit, LimitReached, Record, limit_memory, resident_bytes, use_record

NICENESS = 10
GROWTH_BYTES = 300 << 20
"""A process whose memory has grown by more than this since its start is replaced, so that the memory returns."""

RECORD_FD = "TUNEGATE_RECORD_FD"
MEMORY_BYTES = "TUNEGATE_MEMORY_BYTES"
"""Environment variables by which the pool passes the file of the record and the limit of memory."""


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """The number of bytes done so far."""

    done_bytes: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A defect, or a store that is unavailable; another attempt may succeed."""

    error: str
    store_unavailable: bool = False
    is_large: bool = False


class Exceeded(msgspec.Struct, frozen=True, tag="exceeded"):
    """The request reached a limit without ending the process; another attempt would too."""

    limit: Limit
    label: str


class Answered(msgspec.Struct, frozen=True, tag="answer"):
    """The result of a request, as JSON of the pool's answer type. A process that `is_large` should not get another."""

    answer: msgspec.Raw
    is_large: bool = False


Line = Progress | Failed | Exceeded | Answered

Report = Callable[[int], None]
"""Called with the number of bytes done so far."""


def serve(
    request_type: Any,
    answer: Callable[[Any, Report], Any],
    *,
    is_store_unavailable: Callable[[Exception], bool] = lambda error: False,
    niceness: int = NICENESS,
) -> None:
    """Answer requests from standard input until it ends. Call it after the imports: the limit of memory begins here.

    The process has a low priority, so that its work does not slow down requests to the API, unless such a request waits
    for it: `niceness` is then 0.
    """
    os.nice(niceness)
    if fd := os.environ.get(RECORD_FD):
        use_record(Record.opened(int(fd)))
    if limit := os.environ.get(MEMORY_BYTES):
        limit_memory(int(limit))
    out, max_bytes = sys.stdout.buffer, resident_bytes() + GROWTH_BYTES

    def send(line: Line) -> None:
        out.write(msgspec.json.encode(line) + b"\n")
        out.flush()

    for raw in sys.stdin.buffer:
        try:
            request = msgspec.json.decode(raw, type=request_type)
            result = msgspec.json.encode(answer(request, lambda done: send(Progress(done))))
            send(Answered(msgspec.Raw(result), is_large=resident_bytes() > max_bytes))
        except BrokenPipeError:
            return
        except LimitReached as reached:
            send(Exceeded(reached.limit, reached.label))
        except MemoryError:
            send(Exceeded("memory", "working on the request"))
        except Exception as error:
            unavailable, is_large = is_store_unavailable(error), resident_bytes() > max_bytes
            send(Failed(f"{type(error).__name__}: {error}", store_unavailable=unavailable, is_large=is_large))
