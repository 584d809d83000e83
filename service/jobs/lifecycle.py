"""A job's life: its states, who moves it where, and the status that a caller sees. Pure; drawn in docs/lifecycle.md.

The caller asks (cancel, pause, resume); workers move. What the upstream's job became is read while `running`; money
and metrics are closed in `settling`, so an ended job is complete in every respect.
"""

from dataclasses import dataclass
from typing import Literal

from service.states import State

Status = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled"]

MOVES: dict[State, frozenset[State]] = {
    "validating": frozenset({"waiting", "failed", "cancelled"}),
    "waiting": frozenset({"uploading", "failed", "cancelled"}),
    "uploading": frozenset({"creating", "failed", "cancelled"}),
    "creating": frozenset({"running", "uploading", "failed", "cancelled"}),
    "running": frozenset({"settling"}),
    "settling": frozenset({"succeeded", "failed", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}

_SHOWN: dict[State, Status] = {
    "validating": "validating_files",
    "waiting": "queued",
    "uploading": "queued",
    "creating": "queued",
    "settling": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
}

_UPSTREAM_ENDS: dict[str, State] = {"succeeded": "succeeded", "failed": "failed", "cancelled": "cancelled"}


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, as the job object shows it."""

    code: str
    message: str
    param: str | None = None


def may_move(origin: State, target: State) -> bool:
    """Whether the table of moves allows it."""
    return target in MOVES[origin]


def status_shown(state: State, upstream_status: str | None) -> Status:
    """The status a caller sees, always one of OpenAI's.

    While the upstream works, its own status shows, except that nothing goes back: files have been validated here, so
    the upstream's `validating_files` is shown as `queued`, and so are `paused` and whatever it calls a state that we do
    not know yet.
    """
    if state == "running":
        return "running" if upstream_status == "running" else "queued"
    return _SHOWN[state]


def upstream_end(upstream_status: str) -> State | None:
    """How a job ends whose upstream has this status; None while it has not ended. Unknown statuses are no end."""
    return _UPSTREAM_ENDS.get(upstream_status)
