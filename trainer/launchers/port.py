"""The interface of a launcher: it starts one process for each attempt at a job, here or on another machine.

The process is `python -m trainer.train`. It reads its instructions from the environment (`TRAINER_*`), its data from
the object store, and reports to the server over HTTP with the token of its attempt. So a launcher moves no data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

State = Literal["running", "succeeded", "died", "gone"]
"""`gone`: the launcher knows nothing of the attempt, for example after its cluster was restarted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One attempt to run: a name that no other has, the environment of its process, and the GPUs that it needs."""

    name: str
    environment: Mapping[str, str]
    gpus: int
    validating: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where an attempt stands.

    `reason` says how it died: a signal, an exit status, a lost node; of one that is `running` but was
    not given a place yet, what it waits for.
    """

    state: State
    reason: str = ""


class Launcher(Protocol):
    """Starts, observes and stops attempts; called from one thread, and each call returns within seconds.

    A launcher whose processes die with the server (`survives_restart` False) has no attempts after a restart.
    """

    survives_restart: bool
    poll_seconds: float
    """How often `poll` is called for an attempt."""

    def start(self, launch: Launch) -> None:
        """Start an attempt; starting the same name again changes nothing. Raises OSError when it cannot."""

    def poll(self, name: str) -> Outcome:
        """Where an attempt stands. Raises OSError when the launcher cannot be asked.

        An end may be reported once only; later calls may answer `gone`.
        """

    def stop(self, name: str) -> None:
        """Kill an attempt's process. Does nothing when it has ended."""

    def logs(self, name: str) -> str:
        """The last 64 KB that an attempt wrote to its standard streams, for the server's log."""

    def close(self) -> None:
        """Release what the launcher has open; kills the processes unless they survive a restart."""
