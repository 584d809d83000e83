"""A program that misbehaves as its requests say: `python -m tests.processes.program`."""

import os
import re
import time
from typing import Any

from service.datasets.report.process_pool import map_in_order
from service.processes.guard import guarded
from service.processes.program import Report, serve

_KEPT: list[bytes] = []
EVIL_PATTERN, EVIL_TEXT = r"(a|a)*b", "a" * 60
"""A match that takes for ever, in C and without releasing the interpreter."""


def answer(request: dict[str, Any], progress: Report) -> Any:
    """`spin` and `nested` reach the limit of time, `allocate` the one of memory; the others answer."""
    match request["do"]:
        case "spin":
            with guarded("matching an evil pattern", cpu_seconds=0.3):
                re.match(EVIL_PATTERN, EVIL_TEXT)
        case "nested":
            with guarded("a file", cpu_seconds=0.3), guarded("a line", cpu_seconds=60):
                re.match(EVIL_PATTERN, EVIL_TEXT)
        case "allocate":
            with guarded("building a long text", cpu_seconds=60):
                return len("x" * request["bytes"])
        case "identify":
            return os.getpid()
        case "keep":
            _KEPT.append(b"x" * request["bytes"])
            return os.getpid()
        case "repeat":
            with guarded("everything", cpu_seconds=0.5):
                while True:
                    with guarded("a part", cpu_seconds=60):
                        sum(range(10_000))
        case "fork":
            with guarded("everything", cpu_seconds=0.5), map_in_order(range(4), _spin, processes=2) as results:
                return list(results)
        case "wait":
            with guarded("waiting", cpu_seconds=0.3):
                time.sleep(request["seconds"])
        case "count":
            for done in range(request["to"]):
                progress(done)
        case "environment":
            return dict(os.environ)
        case "fail":
            raise ValueError("a defect")
    return request


def _spin(number: int) -> None:
    while True:
        pass


if __name__ == "__main__":
    serve(dict[str, Any], answer)
