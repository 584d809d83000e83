"""How a process that serves for long starts."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def imports() -> Iterator[None]:
    """Around a process's imports. What they make stays, so nobody looks for garbage in it: now, which would take a
    seventh of the start, or later, while callers wait.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
