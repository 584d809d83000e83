"""What a job carries beside OpenAI's fields: losses, its creator, warnings, why it waits, its experiment."""

from typing import Literal

import msgspec

WaitingFor = Literal[
    "file_check",
    "paused",
    "account_held",
    "no_account",
    "project_limit",
    "account_full",
    "next",
    "sending",
    "upstream_queue",
]


class QueueObject(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job waits, and its place in the queue of its account and among its project's jobs; 1 is next.

    With `sending` the job has a slot and cannot be sent yet. With `upstream_queue` it is at the upstream, and its place
    is the one that the upstream reports, if it does. `estimated_start` is null if it cannot be estimated;
    `estimate_reason` says why.
    """

    reason: WaitingFor
    message: str
    place: int | None
    place_in_project: int | None
    estimated_start: int | None
    estimate_reason: str


class LossSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The loss at the last step that reported one, and the lowest one with the first step that had it."""

    final: float
    final_step: int
    best: float
    best_step: int


class MetricsSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The losses of a job, null before a step has reported one.

    `valid_loss` is that of the whole validation file if the upstream has measured it, else that of its batches.
    """

    train_loss: LossSummary | None
    valid_loss: LossSummary | None


class CreatedBy(msgspec.Struct, frozen=True, kw_only=True):
    """Who created a job: the service account of the key, or a key that belongs to none."""

    type: Literal["api_key", "service_account"]
    id: str
    name: str


class JobWarning(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a job or its data that does not keep it from training."""

    code: str
    message: str


class ExperimentArm(msgspec.Struct, frozen=True, kw_only=True):
    """The experiment that a job is an arm of. The first arm is 1."""

    id: str
    arm: int
