"""Reads an object of the gateway again and again until its work has ended."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from cli.errors import Refused, Unreachable
from cli.interruption import Interrupted

POLL_SECONDS = 0.5
MAX_UNAVAILABLE_SECONDS = 120.0
"""How long the gateway may be unavailable before the command gives up."""

ENDED = ("succeeded", "failed", "cancelled")


def until_ended(
    read: Callable[[], dict[str, Any]],
    interrupted: threading.Event,
    *,
    on_unavailable: Callable[[str], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """What `read` returns, every `POLL_SECONDS`; the last one has ended.

    `on_unavailable` gets a line each time that the gateway stops responding. Raises `Interrupted` after Ctrl-C, and
    `Refused` if the gateway refuses or is unavailable for too long.
    """
    read_at = time.monotonic()
    is_available = True
    while not interrupted.is_set():
        try:
            shown = read()
        except Refused as error:
            if not _is_temporary(error) or time.monotonic() - read_at > MAX_UNAVAILABLE_SECONDS:
                raise
            if is_available and on_unavailable is not None:
                on_unavailable(f"{error} The work goes on; it is asked again for {MAX_UNAVAILABLE_SECONDS:.0f} s.")
            is_available = False
        else:
            read_at, is_available = time.monotonic(), True
            yield shown
            if shown["status"] in ENDED:
                return
        interrupted.wait(POLL_SECONDS)
    raise Interrupted


def _is_temporary(error: Refused) -> bool:
    return isinstance(error, Unreachable) or error.status == 429 or (error.status or 0) >= 500
