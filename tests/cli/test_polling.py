"""Following work at a gateway that stops responding for a while."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cli.errors import Refused, Unreachable
from cli.polling import until_ended


def followed(*answers: str | Refused) -> tuple[list[str], list[str]]:
    """The statuses that were read, and the lines that were said, for these statuses and errors."""
    left: Iterator[str | Refused] = iter(answers)
    said: list[str] = []

    def read() -> dict[str, Any]:
        answer = next(left)
        if isinstance(answer, Refused):
            raise answer
        return {"status": answer}

    shown = until_ended(read, threading.Event(), on_unavailable=said.append, poll_seconds=0.0)
    return [each["status"] for each in shown], said


def test_each_outage_is_said_once() -> None:
    away = Unreachable("The gateway cannot be reached.")
    statuses, said = followed("running", away, away, "running", Refused("busy", status=503), "succeeded")
    assert statuses == ["running", "running", "succeeded"]
    assert [line.split(" The work goes on")[0] for line in said] == ["The gateway cannot be reached.", "busy"]


def test_a_refusal_ends_it() -> None:
    with pytest.raises(Refused, match="Could not find"):
        followed("running", Refused("Could not find fine tune", status=404))
