"""A program that misbehaves as its requests say: `python -m tests.processes.program`."""

import re
import time
from typing import Any

from service.processes.guard import guarded
from service.processes.program import Report, serve

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
        case "wait":
            with guarded("waiting", cpu_seconds=0.3):
                time.sleep(request["seconds"])
        case "count":
            for done in range(request["to"]):
                progress(done)
        case "environment":
            import os

            return dict(os.environ)
        case "fail":
            raise ValueError("a defect")
    return request


if __name__ == "__main__":
    serve(dict[str, Any], answer)
