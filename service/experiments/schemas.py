"""The wire types of experiments, and the function from rows to a response."""

import datetime as dt
from collections.abc import Mapping
from typing import Literal

import msgspec

from service.billing.prices import Amount, amount_of
from service.database.tables import Experiment as ExperimentRow
from service.experiments.arms import ArmSettings, varied
from service.experiments.queries import Arm, FullExperiment
from service.experiments.results import Recommended
from service.experiments.stored import stored_request, stored_settings
from service.http.wire_types import unix
from service.jobs.curves.data_scaling import DataScaling
from service.jobs.curves.early_stopping import EarlyStopping
from service.jobs.curves.verdict import Verdict
from service.jobs.lifecycle import Status
from service.jobs.names import JobNames
from service.jobs.presentation import show_job
from service.jobs.summary import MetricsSummary
from service.runs.comparisons.schemas import ModelResult, show_comparison
from service.runs.comparisons.statistics import Estimate
from service.runs.schemas import RunFault
from service.states import ExperimentStatus, RunStatus

NO_LOSSES = MetricsSummary(train_loss=None, valid_loss=None)

CANCELLED = "The experiment was cancelled before."
"""Why an arm of a cancelled experiment has no job, and its alias is not promoted."""

ArmStatus = Literal["pending", "skipped"] | Status


class ArmObject(msgspec.Struct, frozen=True, kw_only=True):
    """An arm in the table of results: its settings, its job and the result.

    `pending` has no job yet, and `skipped` will have none; every other status is its job's. `reason` says why it was
    skipped, stopped early, or failed. `score` and `difference` are the comparison's; the difference is from its first
    model.
    """

    arm: int
    settings: ArmSettings
    examples: int
    status: ArmStatus
    reason: str | None
    stopped_early: bool
    job: str | None
    training_file: str | None
    fine_tuned_model: str | None
    metrics_summary: MetricsSummary
    expected_cost: Amount
    cost: Amount | None
    trained_tokens: int | None
    tokens_per_second: float | None
    duration_seconds: float | None
    verdict: Verdict | None
    score: Estimate | None
    difference: Estimate | None


class ExperimentComparison(msgspec.Struct, frozen=True, kw_only=True):
    """The comparison of the arms' models. `id` is null before it has begun; `reason` says why it has not, or failed."""

    id: str | None
    status: RunStatus | None
    reason: str | None
    base: Estimate | None
    base_model: str | None


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """What became of `promote`. `reason` says why the alias was not promoted."""

    alias: str
    status: Literal["pending", "promoted", "refused"]
    reason: str | None


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment with its table of results.

    `cost` is what the arms and the comparison have cost so far, and `reserved` what the arms that run may still cost:
    together they stay within `budget`. `varied` are the settings in which the arms differ.
    """

    id: str
    object: Literal["fine_tuning.experiment"] = "fine_tuning.experiment"
    status: ExperimentStatus | Literal["cancelling"]
    created_at: int
    finished_at: int | None
    training_file: str
    validation_file: str | None
    varied: list[str]
    arms: list[ArmObject]
    budget: Amount
    cost: Amount
    reserved: Amount
    max_parallel: int
    priority: int
    recommended: Recommended | None
    comparison: ExperimentComparison | None
    promotion: Promotion | None
    data_scaling: DataScaling | None
    early_stopping: EarlyStopping | None
    metadata: dict[str, str] | None
    waiting_reason: str | None
    error: RunFault | None


def show_experiment(full: FullExperiment) -> Experiment:
    """An experiment as the API shows it."""
    row, request = full.row, stored_request(full.row)
    results = _results(full)
    settings = [stored_settings(arm.row) for arm in full.arms]
    outcome = row.outcome or {}
    run = full.comparison
    base = next((each for each in results.values() if each.difference is None), None)
    return Experiment(
        id=row.id,
        status="cancelling" if row.cancel_requested_at is not None and row.finished_at is None else row.status,
        created_at=unix(row.created_at),
        finished_at=_unix(row.finished_at),
        training_file=row.training_file_id,
        validation_file=row.validation_file_id,
        varied=varied(settings),
        arms=[_show_arm(arm, each, results, row) for arm, each in zip(full.arms, settings, strict=True)],
        budget=amount_of(row.budget_micros),
        cost=amount_of(full.spent.cost_micros + (run.cost_micros if run is not None else 0)),
        reserved=amount_of(full.spent.reserved_micros),
        max_parallel=row.max_parallel,
        priority=request.priority,
        recommended=msgspec.convert(outcome["recommended"], Recommended) if outcome.get("recommended") else None,
        comparison=None
        if request.comparison is None
        else ExperimentComparison(
            id=row.comparison_run_id,
            status=run.status if run is not None else None,
            reason=row.comparison_detail,
            base=base.score if base is not None else None,
            base_model=base.model if base is not None else None,
        ),
        promotion=None if request.promote is None else _show_promotion(row, request.promote),
        data_scaling=msgspec.convert(outcome["data_scaling"], DataScaling) if outcome.get("data_scaling") else None,
        early_stopping=request.early_stopping,
        metadata=request.metadata,
        waiting_reason=row.waiting_reason,
        error=None
        if row.error_code is None
        else RunFault(code=row.error_code, message=row.error_message or "", param=row.error_param),
    )


def _results(full: FullExperiment) -> Mapping[str, ModelResult]:
    """The comparison's results by model, once it has any."""
    if full.comparison is None:
        return {}
    result = show_comparison(full.comparison).result
    return {} if result is None else {each.model: each for each in result.models}


def _show_promotion(row: ExperimentRow, alias: str) -> Promotion:
    if row.promotion_status is None and row.finished_at is not None:
        return Promotion(alias=alias, status="refused", reason=CANCELLED)
    return Promotion(alias=alias, status=row.promotion_status or "pending", reason=row.promotion_detail)


def _show_arm(
    arm: Arm, settings: ArmSettings, results: Mapping[str, ModelResult], experiment: ExperimentRow
) -> ArmObject:
    job, row = arm.job, arm.row
    skipped = row.skipped_reason or (CANCELLED if arm.is_open and experiment.finished_at is not None else None)
    status: ArmStatus = "skipped" if skipped is not None else "pending"
    reason = skipped or row.stopped_reason
    shown = None
    if job is not None:
        shown = show_job(job, JobNames(), None, organization="", now=dt.datetime.now(dt.UTC))
        status = shown.status
        reason = reason or (job.error_message if job.state == "failed" else None)
    result = results.get(shown.fine_tuned_model or "") if shown is not None else None
    return ArmObject(
        arm=row.arm,
        settings=settings,
        examples=row.examples,
        status=status,
        reason=reason,
        stopped_early=row.stopped_reason is not None,
        job=row.job_id,
        training_file=row.training_file_id or (job.training_file_id if job is not None else None),
        fine_tuned_model=shown.fine_tuned_model if shown is not None else None,
        metrics_summary=shown.metrics_summary if shown is not None else NO_LOSSES,
        expected_cost=amount_of(row.expected_micros),
        cost=shown.cost if shown is not None else None,
        trained_tokens=shown.trained_tokens if shown is not None else None,
        tokens_per_second=shown.tokens_per_second if shown is not None else None,
        duration_seconds=shown.duration_seconds if shown is not None else None,
        verdict=shown.verdict if shown is not None else None,
        score=result.score if result is not None else None,
        difference=result.difference if result is not None else None,
    )


def _unix(moment: dt.datetime | None) -> int | None:
    return None if moment is None else unix(moment)
