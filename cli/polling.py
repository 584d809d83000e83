"""Reads an object of the gateway again and again until its work has ended."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console

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
    poll_seconds: float = POLL_SECONDS,
) -> Iterator[dict[str, Any]]:
    """What `read` returns, every `poll_seconds`; the last one has ended.

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
                on_unavailable(f"{error} The work goes on; this asks again for {MAX_UNAVAILABLE_SECONDS:.0f} s.")
            is_available = False
        else:
            read_at, is_available = time.monotonic(), True
            yield shown
            if shown["status"] in ENDED:
                return
        interrupted.wait(poll_seconds)
    raise Interrupted


def say_that_it_continues(command: str, work_id: str, options: str, console: Console) -> None:
    """Print how to follow or cancel work that goes on while its command ends; `options` select the gateway."""
    console.print(f"\n{work_id} continues at the gateway.", soft_wrap=True)
    console.print(f"  tunegate {command} watch {work_id}{options}    shows it again", soft_wrap=True)
    console.print(f"  tunegate {command} cancel {work_id}{options}   cancels it", soft_wrap=True)


def _is_temporary(error: Refused) -> bool:
    return isinstance(error, Unreachable) or error.status == 429 or (error.status or 0) >= 500
