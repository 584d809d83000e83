"""Plans an experiment before anything is spent: its arms, what each may cost, and what speaks against it."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.epochs import default_epochs
from service.database.tables import File
from service.datasets.files.reports import report_pending
from service.datasets.report_schema import FileReport
from service.errors import InvalidRequest
from service.experiments.arms import ArmSettings, check_different, expand, job_of, varied
from service.experiments.request_schemas import CreateExperiment
from service.experiments.results import losses_are_comparable
from service.experiments.shares import reports_of_share
from service.jobs.actions import PricingContext, resolve_request
from service.jobs.lifecycle import JobError
from service.jobs.resolved_request import ResolvedRequest
from service.jobs.rules import check_create, dataset_fault
from service.runs.cost_estimate import CostEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedArm:
    """An arm with its estimated cost in micro-dollars; tokens of all epochs together."""

    settings: ArmSettings
    examples: int
    n_epochs: int
    billable_tokens: int
    low_micros: int
    expected_micros: int
    upper_micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedExperiment:
    """An experiment whose files and models are resolved.

    `fault` is why its datasets cannot be used; `comparable`, whether a lower validation loss means a better arm.
    """

    training: File
    validation: File | None
    report: FileReport
    arms: Sequence[PlannedArm]
    comparison: CostEstimate | None
    comparable: bool
    fault: JobError | None

    @property
    def low_micros(self) -> int:
        """The lowest cost of all arms and the comparison."""
        return sum(arm.low_micros for arm in self.arms) + (self.comparison.low_micros if self.comparison else 0)

    @property
    def expected_micros(self) -> int:
        """The expected cost of all arms and the comparison."""
        return sum(arm.expected_micros for arm in self.arms) + (
            self.comparison.expected_micros if self.comparison else 0
        )

    @property
    def upper_micros(self) -> int:
        """The highest cost of all arms and the comparison."""
        return sum(arm.upper_micros for arm in self.arms) + (self.comparison.upper_micros if self.comparison else 0)


async def plan_experiment(
    session: AsyncSession,
    *,
    project_id: str,
    body: CreateExperiment,
    seed: int,
    pricing_context: PricingContext,
    comparison: CostEstimate | None,
) -> PlannedExperiment:
    """Resolve each model of the experiment once, and estimate the cost of every arm.

    Raises `InvalidRequest` as a job's create does, and `InFlight` while the training file is being checked.
    """
    arms = expand(body, seed=seed)
    resolved = await resolve_models(
        session, project_id=project_id, body=body, arms=arms, pricing_context=pricing_context
    )
    comparable = losses_are_comparable(arms, [each.base.model.encoding for each in resolved.values()])
    if body.early_stopping is not None:
        _check_early_stopping(body, arms, comparable=comparable)
    first = resolved[arms[0].model]
    reports = {model: each.training_report for model, each in resolved.items()}
    ready = {model: report for model, report in reports.items() if report is not None}
    if len(ready) < len(reports):
        raise report_pending("training_file")
    arms = _with_equal_epochs(arms, ready[arms[0].model].examples)
    check_different([msgspec.structs.replace(arm, model=_whole_name(resolved[arm.model])) for arm in arms])
    fault = next((each.fault for each in resolved.values() if each.fault is not None), None)
    return PlannedExperiment(
        training=first.training,
        validation=first.validation,
        report=ready[arms[0].model],
        arms=[_planned(body, arm, resolved[arm.model], ready[arm.model]) for arm in arms],
        comparison=comparison,
        comparable=comparable,
        fault=fault or _fault_of_a_share(arms, resolved, ready),
    )


async def resolve_models(
    session: AsyncSession,
    *,
    project_id: str,
    body: CreateExperiment,
    arms: Sequence[ArmSettings],
    pricing_context: PricingContext,
) -> dict[str, ResolvedRequest]:
    """The resolved request of each model that the arms train. Requests the reports that do not exist yet."""
    resolved: dict[str, ResolvedRequest] = {}
    for arm in arms:
        if arm.model not in resolved:
            job = job_of(body, arm, training_file=body.training_file)
            resolved[arm.model] = await resolve_request(
                session, project_id=project_id, body=job, method=check_create(job), pricing_context=pricing_context
            )
    return resolved


def _whole_name(resolved: ResolvedRequest) -> str:
    """The one name of a model: a base model has aliases, such as the name without a date."""
    base = resolved.base
    return base.name if base.name.startswith("ft:") else base.model.name


def _check_early_stopping(body: CreateExperiment, arms: Sequence[ArmSettings], *, comparable: bool) -> None:
    """Raises `InvalidRequest` for a rule that would compare what cannot be compared."""
    reason = None
    if body.validation_file is None:
        reason = "An arm is stopped early by its validation loss: give a `validation_file`."
    elif "data_share" in varied(arms):
        reason = "Arms over shares of the data are not stopped early: the smaller ones are worse by design."
    elif not comparable:
        reason = "Validation losses of different tokenizers, or of different values of `beta`, cannot be compared."
    if reason is not None:
        raise InvalidRequest(reason, param="early_stopping", code="conflicting_parameters")


def _with_equal_epochs(arms: Sequence[ArmSettings], examples: int) -> list[ArmSettings]:
    """With shares of the data, `auto` means the whole file's epochs in all arms: they are to differ by their data."""
    if all(arm.data_share >= 1.0 for arm in arms):
        return list(arms)
    epochs = default_epochs(examples)
    return [msgspec.structs.replace(arm, n_epochs=epochs) if arm.n_epochs == "auto" else arm for arm in arms]


def _planned(body: CreateExperiment, arm: ArmSettings, resolved: ResolvedRequest, report: FileReport) -> PlannedArm:
    method = check_create(job_of(body, arm, training_file=body.training_file))
    low, expected, upper = (resolved.terms.estimate(each, method) for each in reports_of_share(report, arm.data_share))
    return PlannedArm(
        settings=arm,
        examples=reports_of_share(report, arm.data_share).expected.examples,
        n_epochs=expected.n_epochs,
        billable_tokens=expected.billable_tokens,
        low_micros=low.low_micros,
        expected_micros=expected.expected_micros,
        upper_micros=upper.upper_micros,
    )


def _fault_of_a_share(
    arms: Sequence[ArmSettings], resolved: dict[str, ResolvedRequest], reports: dict[str, FileReport]
) -> JobError | None:
    """Why the smallest share cannot be trained on, such as too few examples."""
    smallest = min(arms, key=lambda arm: arm.data_share)
    request = resolved[smallest.model]
    fault = dataset_fault(
        reports_of_share(reports[smallest.model], smallest.data_share).expected,
        method_type=request.method["type"],
        model=request.base.model,
        param="training_file",
    )
    if fault is None or smallest.data_share >= 1.0:
        return fault
    return JobError(fault.code, f"With a data_share of {smallest.data_share:g}: {fault.message}", "data_share")
