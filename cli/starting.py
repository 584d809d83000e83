"""The start of long-running processes."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def imports() -> Iterator[None]:
    """Wrap the imports of a process, whose objects live as long as it does, and exclude them from garbage collection.

    Collecting them would take a seventh of the start, and later delay requests.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
