"""Converts rows into response structs: one explicit function for each kind of object."""

import datetime as dt
from typing import Literal

import msgspec
from msgspec import UNSET

from service.billing.prices import Amount, amount_of
from service.database.tables import Checkpoint, Job, JobEvent, JobMetric, JobState
from service.http.wire_types import unix
from service.jobs.curves.verdict import Verdict
from service.jobs.lifecycle import status_shown
from service.jobs.losses import Loss, Losses, losses_of
from service.jobs.names import JobNames
from service.jobs.queries import JobRow
from service.jobs.rules import hyperparameters_of, with_epochs
from service.jobs.schemas import (
    AdapterObject,
    CheckpointMetrics,
    CheckpointObject,
    Deployment,
    FineTuningJob,
    GpuSecondsObject,
    HyperparametersObject,
    JobCost,
    JobErrorObject,
    JobEventObject,
    MetricRow,
    TimelineEntry,
)
from service.jobs.summary import CreatedBy, ExperimentArm, LossSummary, MetricsSummary, QueueObject
from service.jobs.warnings import in_order
from service.states import ENDED


def show_job(
    row: Job | JobRow, names: JobNames, waiting: QueueObject | None, *, organization: str, now: dt.datetime
) -> FineTuningJob:
    """A job. `error` is null unless the job failed; `status` is always one of OpenAI's."""
    method = row.method if row.n_epochs is None else with_epochs(row.method, row.n_epochs)
    parameters = hyperparameters_of(method)
    error = None
    if row.state == "failed":
        error = JobErrorObject(code=row.error_code or "", message=row.error_message or "", param=row.error_param)
    return FineTuningJob(
        id=row.id,
        created_at=unix(row.created_at),
        finished_at=unix(row.finished_at) if row.finished_at else None,
        model=row.model,
        fine_tuned_model=row.fine_tuned_model,
        organization_id=organization,
        status=status_shown(row.state, row.upstream_status),
        training_file=row.training_file_id,
        validation_file=row.validation_file_id,
        hyperparameters=HyperparametersObject(
            n_epochs=parameters["n_epochs"],
            batch_size=parameters["batch_size"],
            learning_rate_multiplier=parameters["learning_rate_multiplier"],
        ),
        method=method,
        result_files=list(row.result_file_ids),
        trained_tokens=row.trained_tokens,
        error=error,
        seed=row.seed,
        suffix=row.suffix,
        estimated_finish=unix(row.estimated_finish_at) if row.estimated_finish_at and not row.finished_at else None,
        integrations=row.integrations,
        metadata=row.caller_metadata,
        adapter=None if row.adapter is None else AdapterObject(**row.adapter),
        cost=_amount(row.cost_micros),
        expected_cost=_amount(row.expected_micros),
        metrics_summary=show_losses(losses_of(row)),
        tokens_per_second=row.tokens_per_second,
        duration_seconds=_duration_seconds(row, now),
        created_by=show_creator(row.api_key_id, names),
        training_file_name=names.training_file,
        validation_file_name=names.validation_file,
        warnings=in_order(row.warnings),
        waiting=waiting,
        verdict=None if row.verdict is None else msgspec.convert(row.verdict, Verdict),
        experiment=_experiment(row),
    )


def _experiment(row: Job | JobRow) -> ExperimentArm | None:
    if row.experiment_id is None or row.experiment_arm is None:
        return None
    return ExperimentArm(id=row.experiment_id, arm=row.experiment_arm)


def show_losses(losses: Losses) -> MetricsSummary:
    """The summary of a job's losses."""
    return MetricsSummary(train_loss=_loss(losses.train), valid_loss=_loss(losses.valid))


def _loss(loss: Loss | None) -> LossSummary | None:
    return None if loss is None else LossSummary(**loss._asdict())


def show_creator(key_id: str | None, names: JobNames) -> CreatedBy | None:
    """Who created a job: the owner of the key, or the key if it has none."""
    if names.service_account_id is not None:
        return CreatedBy(type="service_account", id=names.service_account_id, name=names.service_account or "")
    return None if key_id is None or names.key is None else CreatedBy(type="api_key", id=key_id, name=names.key)


def _duration_seconds(row: Job | JobRow, now: dt.datetime) -> float | None:
    if row.finished_at is not None or row.started_at is None:
        return row.duration_seconds
    return max(0.0, (now - row.started_at).total_seconds())


def show_event(row: JobEvent) -> JobEventObject:
    """An event."""
    return JobEventObject(
        id=row.id,
        created_at=unix(row.created_at),
        level=row.level,
        message=row.message,
        type=row.type,
        data=row.data,
    )


def show_checkpoint(row: Checkpoint) -> CheckpointObject:
    """A checkpoint. Metrics that the upstream did not report are absent."""
    known = {
        name: row.metrics[name] for name in CheckpointMetrics.__struct_fields__ if row.metrics.get(name) is not None
    }
    return CheckpointObject(
        id=row.id,
        created_at=unix(row.created_at),
        fine_tuned_model_checkpoint=row.name,
        fine_tuning_job_id=row.job_id,
        metrics=CheckpointMetrics(**known),
        step_number=row.step_number,
    )


def show_metric(row: JobMetric) -> MetricRow:
    """The metrics of one step."""
    return MetricRow(**{name: getattr(row, name) for name in MetricRow.__struct_fields__})


def show_state(row: JobState) -> TimelineEntry:
    """An entry of the timeline."""
    return TimelineEntry(state=row.state, entered_at=unix(row.entered_at), reason=row.reason)


def show_cost(row: Job, *, reserved_micros: int | None) -> JobCost:
    """What the job was expected to cost, reserved, and cost. `reserved_micros` is None before it has reserved."""
    return JobCost(
        basis="tokens" if row.price_micros_per_gpu_second is None else "gpu_seconds",
        expected=_amount(row.expected_micros),
        reserved=_amount(reserved_micros),
        actual=_amount(row.cost_micros),
        over_reservation=(row.cost_micros or 0) > (reserved_micros or 0),
        trained_tokens=row.trained_tokens,
        gpu_seconds=row.gpu_seconds,
        estimated_gpu_seconds=None if row.gpu_estimate is None else msgspec.convert(row.gpu_estimate, GpuSecondsObject),
        budget=_amount(row.budget_micros),
    )


def _amount(micros: int | None) -> Amount | None:
    return None if micros is None else amount_of(micros)


def show_deployment(row: Job) -> Deployment | None:
    """The result of the job's `deploy`, if it has one."""
    if row.deploy_alias is None:
        return None
    without_result: Literal["void", "pending"] = "void" if row.state in ENDED else "pending"
    return Deployment(
        alias=row.deploy_alias,
        status=row.deploy_status or without_result,
        reason=row.deploy_detail,
        comparison=row.deploy_run_id if row.deploy_comparison is not None else UNSET,
    )
