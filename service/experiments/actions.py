"""The actions on experiments: quote, create, cancel. Each runs in its caller's transaction; workers do the rest."""

import datetime as dt
import secrets

import msgspec
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.balances import month_balance, month_of
from service.billing.prices import dollar_text, micros_of_dollars
from service.database.tables import Experiment, ExperimentArm
from service.errors import InvalidRequest
from service.experiments.arms import expand
from service.experiments.plan import PlannedExperiment, plan_experiment, resolve_models
from service.experiments.queries import get_experiment
from service.experiments.quote import ExperimentQuote, show_quote
from service.experiments.record import wake_up
from service.experiments.request_schemas import CreateExperiment
from service.identity import audit
from service.identity.audit import Actor
from service.identity.queries import get_active_project
from service.ids import new_id
from service.jobs.actions import MAX_SEED, PricingContext, refusal
from service.limits.unfinished_work import check_experiments
from service.models.aliases.names import check_not_a_base_model
from service.runs.cost_estimate import CostEstimate


async def quote_experiment(
    session: AsyncSession,
    *,
    project_id: str,
    body: CreateExperiment,
    pricing_context: PricingContext,
    comparison: CostEstimate | None,
) -> ExperimentQuote:
    """Quote an experiment: what each arm and all together may cost, and whether the budgets allow it.

    Raises `InvalidRequest` as a create would, and `InFlight` while a file is being checked.
    """
    plan = await _plan(session, project_id, body, body.seed or 0, pricing_context, comparison)
    standing = await month_balance(session, project_id, month_of(dt.datetime.now(dt.UTC)))
    return show_quote(body, plan, budget_micros=_budget_micros(body, plan), remaining_micros=standing.remaining)


async def request_reports(
    session: AsyncSession, *, project_id: str, body: CreateExperiment, pricing_context: PricingContext
) -> None:
    """Request the reports that an experiment needs and that do not exist yet. The transaction must commit."""
    arms = expand(body, seed=0)
    await resolve_models(session, project_id=project_id, body=body, arms=arms, pricing_context=pricing_context)


async def create_experiment(
    session: AsyncSession,
    *,
    project_id: str,
    body: CreateExperiment,
    pricing_context: PricingContext,
    comparison: CostEstimate | None,
    api_key_id: str,
    actor: Actor,
) -> Experiment:
    """Create an experiment. Nothing is reserved here: each arm's job reserves its own upper price when it is created.

    Raises `InvalidRequest`, `InFlight` while a file is being checked, and `QuotaExceeded` for too many experiments.
    """
    await check_experiments(session, project_id)
    await get_active_project(session, project_id)
    if body.promote is not None:
        check_not_a_base_model(pricing_context.catalogue, body.promote, param="promote")
    seed = body.seed if body.seed is not None else secrets.randbelow(MAX_SEED + 1)
    plan = await _plan(session, project_id, body, seed, pricing_context, comparison)
    if plan.fault is not None:
        raise refusal(plan.fault)
    budget_micros = _budget_micros(body, plan)
    cheapest = min(arm.upper_micros for arm in plan.arms)
    if budget_micros < cheapest:
        raise InvalidRequest(
            f"The budget of {dollar_text(budget_micros)} is below the upper price of the cheapest arm, "
            f"{dollar_text(cheapest)}, so that no arm could be started.",
            param="budget",
            code="budget_too_small",
        )
    stored = msgspec.structs.replace(body, seed=seed, arms=None, grid=None)
    row = Experiment(
        id=new_id("exp_"),
        project_id=project_id,
        api_key_id=api_key_id,
        request=msgspec.to_builtins(stored),
        training_file_id=plan.training.id,
        validation_file_id=plan.validation.id if plan.validation is not None else None,
        budget_micros=budget_micros,
        max_parallel=body.max_parallel,
        due_at=func.now(),
    )
    session.add(row)
    await session.flush()
    session.add_all(
        ExperimentArm(
            experiment_id=row.id,
            arm=number,
            project_id=project_id,
            settings=msgspec.to_builtins(arm.settings),
            examples=arm.examples,
            expected_micros=arm.expected_micros,
            upper_micros=arm.upper_micros,
        )
        for number, arm in enumerate(plan.arms, start=1)
    )
    await session.flush()
    data = {"arms": len(plan.arms), "training_file": row.training_file_id, "budget_micros": budget_micros}
    await audit.record(session, actor, "experiment.created", project_id=project_id, resource_id=row.id, data=data)
    await session.refresh(row)
    wake_up(session, row, 0)
    return row


async def request_cancel(session: AsyncSession, actor: Actor, project_id: str, experiment_id: str) -> Experiment:
    """Request the cancel of an experiment and its arms, which workers carry out. Repeating it changes nothing.

    A worker that is creating an arm loses its lease, so that no arm is created after this commits. Raises `NotFound`,
    and `InvalidRequest` for an experiment that has succeeded or failed.
    """
    row = await get_experiment(session, project_id, experiment_id, lock=True)
    if row.status in ("succeeded", "failed"):
        raise InvalidRequest(
            f"The experiment has {row.status}; nothing is left to cancel.",
            param="experiment_id",
            code="experiment_not_cancellable",
        )
    if row.cancel_requested_at is None and row.status != "cancelled":
        row.cancel_requested_at = row.due_at = await session.scalar(func.clock_timestamp())
        row.lease_token += 1
        row.leased_until = None
        await session.flush()
        await audit.record(session, actor, "experiment.cancelled", project_id=project_id, resource_id=row.id)
        wake_up(session, row, "cancel")
    return row


async def _plan(
    session: AsyncSession,
    project_id: str,
    body: CreateExperiment,
    seed: int,
    pricing_context: PricingContext,
    comparison: CostEstimate | None,
) -> PlannedExperiment:
    return await plan_experiment(
        session,
        project_id=project_id,
        body=body,
        seed=seed,
        pricing_context=pricing_context,
        comparison=comparison,
    )


def _budget_micros(body: CreateExperiment, plan: PlannedExperiment) -> int:
    return plan.upper_micros if body.budget is None else micros_of_dollars(body.budget)
