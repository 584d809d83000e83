"""The start of long-running processes."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from service.settings import Settings


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


def for_terminal(settings: Settings) -> Settings:
    """With logs for people where they appear at a terminal, unless TUNEGATE_LOG_FORMAT is set."""
    chosen = os.environ.get("TUNEGATE_LOG_FORMAT")
    return replace(settings, log_format="console") if sys.stderr.isatty() and not chosen else settings
