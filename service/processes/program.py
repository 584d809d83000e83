"""The loop of a pool's program: reads requests as JSON lines, answers with lines of progress and one final line."""

import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from service.processes.guard import LimitReached, Record, limit_memory, use_record

NICENESS = 10
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


class Exceeded(msgspec.Struct, frozen=True, tag="exceeded"):
    """The request reached the limit of memory; another attempt would too."""

    label: str


class Answered(msgspec.Struct, frozen=True, tag="answer"):
    """The result of a request, as JSON of the pool's answer type."""

    answer: msgspec.Raw


Line = Progress | Failed | Exceeded | Answered

Report = Callable[[int], None]
"""Called with the number of bytes done so far."""


def serve(
    request_type: Any,
    answer: Callable[[Any, Report], Any],
    *,
    is_store_unavailable: Callable[[Exception], bool] = lambda error: False,
) -> None:
    """Answer requests from standard input until it ends. Call it after the imports: the limit of memory begins here.

    The process has a low priority, so that its work does not slow down requests to the API.
    """
    os.nice(NICENESS)
    if fd := os.environ.get(RECORD_FD):
        use_record(Record.opened(int(fd)))
    if limit := os.environ.get(MEMORY_BYTES):
        limit_memory(int(limit))
    out = sys.stdout.buffer

    def send(line: Line) -> None:
        out.write(msgspec.json.encode(line) + b"\n")
        out.flush()

    for raw in sys.stdin.buffer:
        try:
            request = msgspec.json.decode(raw, type=request_type)
            result = msgspec.json.encode(answer(request, lambda done: send(Progress(done))))
            send(Answered(msgspec.Raw(result)))
        except BrokenPipeError:
            return
        except LimitReached as reached:
            send(Exceeded(reached.label))
        except MemoryError:
            send(Exceeded("working on the request"))
        except Exception as error:
            send(Failed(f"{type(error).__name__}: {error}", store_unavailable=is_store_unavailable(error)))
