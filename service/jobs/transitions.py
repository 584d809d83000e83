"""Transitions of jobs: one named constructor for each change of state that `lifecycle.TRANSITIONS` permits.

A constructor sets every column that changes together with the state, so that no caller can forget one, and the event's
message. `record.apply_transition` writes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func

from service.billing.prices import dollar_text
from service.jobs.lifecycle import LOST_STATUS, JobError
from service.states import State
from service.upstreams.poll_schedule import NEW_JOB_SNAPSHOT

Values = Mapping[str, Any]
"""Columns of the job's row with their new values, which may be SQL expressions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change of a job's state. `message` becomes an event; `reason` is shown beside the state in the timeline."""

    target: State
    message: str
    reason: str | None = None
    error: JobError | None = None
    values: Values = field(default_factory=dict)

    @classmethod
    def to_waiting(
        cls,
        *,
        n_epochs: int | None,
        price_micros_per_million: int | None,
        price_micros_per_gpu_second: int | None,
        gpu_estimate: dict[str, Any] | None,
        expected_micros: int | None,
        warnings: Any,
    ) -> "Transition":
        """`validating` → `waiting`: the files are valid, and the money is reserved at these figures.

        `warnings` is the column's new value, an SQL expression.
        """
        return cls(
            target="waiting",
            message="Files validated, moving job to queued state",
            values={
                "n_epochs": n_epochs,
                "price_micros_per_million": price_micros_per_million,
                "price_micros_per_gpu_second": price_micros_per_gpu_second,
                "gpu_estimate": gpu_estimate,
                "expected_micros": expected_micros,
                "warnings": warnings,
            },
        )

    @classmethod
    def to_uploading(cls, *, account_id: str) -> "Transition":
        """`waiting` → `uploading`: the job gets a slot of an upstream account."""
        return cls(
            target="uploading",
            message="Sending the files to the upstream",
            values={"account_id": account_id, "admitted_at": func.clock_timestamp()},
        )

    @classmethod
    def back_to_uploading(cls, message: str) -> "Transition":
        """`creating` → `uploading`: a file has vanished upstream and is sent again. The job keeps its slot."""
        return cls(target="uploading", message=message)

    @classmethod
    def to_creating(cls) -> "Transition":
        """`uploading` → `creating`: the upstream has the files."""
        return cls(target="creating", message="Files sent to the upstream")

    @classmethod
    def to_running(cls, *, upstream_job_id: str) -> "Transition":
        """`creating` → `running`: the upstream has created its job, or an earlier attempt's job was found."""
        return cls(
            target="running",
            message="Created the job at the upstream",
            values={
                "create_phase": "created",
                "upstream_job_id": upstream_job_id,
                "upstream_status": "queued",
                "upstream_snapshot": NEW_JOB_SNAPSHOT,
            },
        )

    @classmethod
    def to_settling(cls, values: Values) -> "Transition":
        """`running` → `settling`: the upstream's job has ended. `values` are what the last poll has read."""
        return cls(target="settling", message="The upstream has ended the job; settling its cost", values=values)

    @classmethod
    def to_settling_as_lost(cls) -> "Transition":
        """`running` → `settling`: the upstream has responded several times that it has no such job."""
        return cls(
            target="settling",
            message="The upstream no longer knows the job",
            values={"upstream_status": LOST_STATUS},
        )

    @classmethod
    def succeeded(cls, *, fine_tuned_model: str, cost_micros: int, values: Values) -> "Transition":
        """`settling` → `succeeded`: the model has its name and the cost is posted."""
        return cls(
            target="succeeded",
            message=f"The model is ready: {fine_tuned_model} (cost: {dollar_text(cost_micros)})",
            values={**values, "fine_tuned_model": fine_tuned_model, "cost_micros": cost_micros},
        )

    @classmethod
    def failed(
        cls, error: JobError, *, cost_micros: int = 0, reason: str | None = None, values: Values | None = None
    ) -> "Transition":
        """Any state but `running` → `failed`."""
        return cls(
            target="failed",
            message=f"The job failed: {error.message}",
            reason=reason,
            error=error,
            values={**(values or {}), "cost_micros": cost_micros},
        )

    @classmethod
    def cancelled(
        cls, *, cost_micros: int = 0, reason: str | None = None, values: Values | None = None
    ) -> "Transition":
        """Any state but `running` → `cancelled`."""
        return cls(
            target="cancelled",
            message="The job was cancelled",
            reason=reason,
            values={**(values or {}), "cost_micros": cost_micros},
        )
