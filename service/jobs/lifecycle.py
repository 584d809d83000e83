"""A job's lifecycle: its transitions between states, and the status that a caller sees. Pure.

`docs/lifecycle.md` draws it, and `service/states.py` says beside each state which code moves a job into it and out of
it. Callers request (cancel, pause, resume) and workers make the transitions. The outcome of the upstream's job is read
in `running`; cost, metrics and result files are written in `settling`, so that a job which has ended is complete.
"""

from dataclasses import dataclass
from typing import Literal

from service.states import EndState, State

Status = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled"]

LOST_STATUS = "lost"
"""The `upstream_status` of a job that the upstream no longer knows. Ours: no upstream reports it."""

TRANSITIONS: dict[State, frozenset[State]] = {
    # workers/jobs/validate.py: the files are valid and the money is reserved, or why not
    "validating": frozenset({"waiting", "failed", "cancelled"}),
    # workers/jobs/schedule.py gives it a slot; workers/jobs/wait.py cancels it
    "waiting": frozenset({"uploading", "failed", "cancelled"}),
    # workers/jobs/upload.py: the upstream has the files, or refuses one
    "uploading": frozenset({"creating", "failed", "cancelled"}),
    # workers/jobs/create.py: the upstream's job exists, a file has vanished upstream, or the job is refused
    "creating": frozenset({"running", "uploading", "failed", "cancelled"}),
    # workers/jobs/poll.py: the upstream's job has ended or is lost
    "running": frozenset({"settling"}),
    # workers/jobs/settle.py: as the upstream's job ended
    "settling": frozenset({"succeeded", "failed", "cancelled"}),
    # final
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
"""The permitted transitions by origin. Each has a constructor in `transitions.py`."""

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

_UPSTREAM_END: dict[str, EndState] = {"succeeded": "succeeded", "failed": "failed", "cancelled": "cancelled"}


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, as the job object shows it."""

    code: str
    message: str
    param: str | None = None


def is_permitted(origin: State, target: State) -> bool:
    """Whether the lifecycle has this transition."""
    return target in TRANSITIONS[origin]


def status_shown(state: State, upstream_status: str | None) -> Status:
    """The status a caller sees, always one of OpenAI's.

    In `running` it follows the upstream's status, but never goes back: the files have been validated already, so the
    upstream's `validating_files` shows as `queued`, and so do `paused` and every status that we do not know.
    """
    if state == "running":
        return "running" if upstream_status == "running" else "queued"
    return _SHOWN[state]


def states_shown_as(status: Status) -> tuple[State, ...]:
    """The states that a caller sees as a status, without `running`, in which the upstream's status decides."""
    return tuple(state for state, shown in _SHOWN.items() if shown == status)


def upstream_end(upstream_status: str) -> EndState | None:
    """The final state for a status of the upstream's job; None if that status is not final, or unknown."""
    return _UPSTREAM_END.get(upstream_status)
