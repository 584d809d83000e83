"""The wire types of an experiment's quote."""

from collections.abc import Iterator
from typing import Literal

import msgspec

from service.billing.prices import Amount, amount_of
from service.experiments.arms import ArmSettings, varied
from service.experiments.plan import PlannedExperiment
from service.experiments.request_schemas import CreateExperiment
from service.jobs.quotes import PriceRange
from service.runs.schemas import RunPrice

REPEATED = ("duplicate_example", "near_duplicate")


class QuotedArm(msgspec.Struct, frozen=True, kw_only=True):
    """One arm with its price. The tokens are of all its epochs."""

    arm: int
    settings: ArmSettings
    examples: int
    n_epochs: int
    billable_tokens: int
    price: PriceRange


class ExperimentQuote(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of an experiment, before anything is spent: of each arm, of its comparison, and of all (`price`).

    `reasons` say why it could not be completed; `warnings` do not prevent it. `varied` are the settings in which the
    arms differ. The `upper` price is the default budget.
    """

    object: Literal["fine_tuning.experiment.quote"] = "fine_tuning.experiment.quote"
    arms: list[QuotedArm]
    varied: list[str]
    comparison: RunPrice | None
    price: PriceRange
    budget: Amount
    remaining_budget: Amount | None
    allowed: bool
    reasons: list[str]
    warnings: list[str]


def show_quote(
    body: CreateExperiment, plan: PlannedExperiment, *, budget_micros: int, remaining_micros: int | None
) -> ExperimentQuote:
    """The quote of a planned experiment."""
    reasons = list(_reasons(plan, budget_micros, remaining_micros))
    comparison = plan.comparison
    return ExperimentQuote(
        arms=[
            QuotedArm(
                arm=number,
                settings=arm.settings,
                examples=arm.examples,
                n_epochs=arm.n_epochs,
                billable_tokens=arm.billable_tokens,
                price=_range(arm.low_micros, arm.expected_micros, arm.upper_micros),
            )
            for number, arm in enumerate(plan.arms, start=1)
        ],
        varied=varied([arm.settings for arm in plan.arms]),
        comparison=None
        if comparison is None
        else RunPrice(
            low=amount_of(comparison.low_micros),
            expected=amount_of(comparison.expected_micros),
            upper=amount_of(comparison.upper_micros),
        ),
        price=_range(plan.low_micros, plan.expected_micros, plan.upper_micros),
        budget=amount_of(budget_micros),
        remaining_budget=None if remaining_micros is None else amount_of(remaining_micros),
        allowed=not reasons,
        reasons=reasons,
        warnings=list(_warnings(body, plan)),
    )


def _range(low: int, expected: int, upper: int) -> PriceRange:
    return PriceRange(low=amount_of(low), expected=amount_of(expected), upper=amount_of(upper))


def _reasons(plan: PlannedExperiment, budget_micros: int, remaining_micros: int | None) -> Iterator[str]:
    if plan.fault is not None:
        yield plan.fault.message
    if budget_micros < min(arm.upper_micros for arm in plan.arms):
        yield "`budget` is below the upper price of the cheapest arm: no arm could be started."
    elif budget_micros < plan.expected_micros:
        yield "The expected price is more than `budget`: some arms would be skipped."
    if remaining_micros is not None and remaining_micros < plan.expected_micros:
        yield "The expected price is more than what is left of the monthly budget: some arms would be skipped."


def _warnings(body: CreateExperiment, plan: PlannedExperiment) -> Iterator[str]:
    if body.validation_file is None and body.comparison is None:
        yield (
            "Without `validation_file` and without `comparison` nothing tells which arm is best: no arm will be "
            "recommended."
        )
    elif body.comparison is None and not plan.comparable:
        yield (
            "Validation losses of different tokenizers, or of different values of `beta`, cannot be compared. Without "
            "`comparison` no arm will be recommended."
        )
    if any(arm.settings.data_share < 1 for arm in plan.arms):
        repeated = sum(plan.report.counts.get(code, 0) for code in REPEATED)
        if repeated:
            yield (
                f"The training file has {repeated:,} findings of equal or nearly equal examples. A smaller share then "
                "has much of what the whole has, and more data seems to give less than it does. Prepare the file with "
                "`drop_duplicates` first."
            )
