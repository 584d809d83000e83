"""Ends an experiment whose arms have all ended: compares their models, recommends one and promotes it if requested."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.billing.prices import dollar_text
from service.database import leases
from service.database.leases import Claim
from service.database.tables import Experiment, Model
from service.errors import ApiError, InFlight, InvalidRequest
from service.experiments.arms import ArmSettings
from service.experiments.comparison import MAX_COMPARED_ARMS, comparison_of
from service.experiments.queries import FullExperiment
from service.experiments.record import UNFINISHED, end
from service.experiments.request_schemas import CreateExperiment
from service.experiments.results import (
    Compared,
    Recommended,
    Result,
    data_scaling,
    losses_are_comparable,
    recommendation,
    refusal_of_promotion,
)
from service.experiments.stored import stored_request, stored_settings
from service.inference.routing import Router
from service.models.aliases.actions import deploy
from service.models.aliases.queries import find_alias, lock_aliases
from service.runs.comparisons.actions import ResolvedComparison, create_comparison, resolve_comparison
from service.runs.comparisons.stored import stored_options, stored_outcome
from service.runs.record import RunError
from workers.context import Context

MAX_WAIT_HOURS = 24
"""A comparison that could not begin for this time after the last arm's end is given up."""


async def conclude(ctx: Context, claimed: Claim[Experiment], full: FullExperiment) -> None:
    """Begin the comparison, or end the experiment if none is requested or it has ended.

    Raises `ApiError` if the comparison cannot begin now.
    """
    results, request = _results(full), stored_request(full.row)
    if not results:
        await _fail(ctx, claimed, full)
    elif full.comparison is not None and full.comparison.finished_at is None:
        async with ctx.db.worker() as session:
            await leases.give_back_idle(session, claimed, {})
    elif request.comparison is None or full.comparison is not None or full.row.comparison_detail is not None:
        await _end(ctx, claimed, full, request)
    else:
        await _compare(ctx, claimed, full, request, results)


async def _fail(ctx: Context, claimed: Claim[Experiment], full: FullExperiment) -> None:
    reasons = [arm.row.skipped_reason or (arm.job.error_message if arm.job is not None else None) for arm in full.arms]
    why = next((reason for reason in reasons if reason), "Its jobs were cancelled.")
    error = RunError(
        code="no_arm_succeeded",
        message=f"None of the {len(full.arms)} arms has succeeded. The first reason: {why}",
    )
    values = {}
    if stored_request(full.row).promote is not None:
        values = {"promotion_status": "refused", "promotion_detail": "No arm has succeeded."}
    async with ctx.db.worker() as session:
        await end(session, claimed, "failed", values, error=error)
    fault_points.point("experiment.ended")


async def _compare(
    ctx: Context, claimed: Claim[Experiment], full: FullExperiment, request: CreateExperiment, results: Sequence[Result]
) -> None:
    """Begin the comparison of the best arms, whose end makes the experiment due."""
    try:
        resolved = await _resolve(ctx, full, request, results)
    except InFlight:
        raise
    except InvalidRequest as refused:
        await _give_up_comparison(ctx, claimed, refused.message)
        return
    except ApiError as error:
        if dt.datetime.now(dt.UTC) - _last_end(full) < dt.timedelta(hours=MAX_WAIT_HOURS):
            raise
        await _give_up_comparison(ctx, claimed, f"It could not begin for {MAX_WAIT_HOURS} hours: {error.message}")
        return
    left_micros = full.row.budget_micros - full.spent.total_micros
    if left_micros <= 0 < resolved.price.upper_micros:
        budget = dollar_text(full.row.budget_micros)
        await _give_up_comparison(ctx, claimed, f"The arms have used up the budget of {budget}.")
        return
    resolved = replace(resolved, budget_micros=min(resolved.budget_micros, max(left_micros, 0)))
    try:
        async with ctx.db.worker() as session:
            run = await create_comparison(session, full.row.project_id, full.row.api_key_id, resolved)
            values = {"status": "comparing", "comparison_run_id": run.id, "waiting_reason": None, "failures": 0}
            await leases.give_back_idle(session, claimed, values, where=[Experiment.status.in_(UNFINISHED)])
    except InvalidRequest as refused:
        await _give_up_comparison(ctx, claimed, refused.message)
    fault_points.point("experiment.compared")


async def _resolve(
    ctx: Context, full: FullExperiment, request: CreateExperiment, results: Sequence[Result]
) -> ResolvedComparison:
    comparison = request.comparison
    if comparison is None:
        raise RuntimeError("An experiment without a comparison has none to resolve.")
    models = [each.model for each in sorted(results, key=_by_loss)[:MAX_COMPARED_ARMS]]
    reference = None
    if comparison.must_beat is not None:
        async with ctx.db.worker() as session:
            alias = await find_alias(session, full.row.project_id, request.promote or "")
            tuned = await session.get(Model, models[0])
            base = tuned.base_model if tuned is not None else request.model
        reference = alias.model if comparison.must_beat == "current" and alias is not None else base
    return await resolve_comparison(
        comparison_of(comparison, reference=reference, arms=[name for name in models if name != reference]),
        router=Router(db=ctx.db, catalogue=ctx.catalogue, accounts=ctx.accounts),
        meter=ctx.meter,
        evaluator=ctx.evaluator,
        project_id=full.row.project_id,
        max_concurrency=ctx.settings.run_concurrency,
    )


async def _give_up_comparison(ctx: Context, claimed: Claim[Experiment], reason: str) -> None:
    async with ctx.db.worker() as session:
        values = {"comparison_detail": reason, "failures": 0}
        await leases.give_back(session, claimed, values, due_in_seconds=0.0)


async def _end(ctx: Context, claimed: Claim[Experiment], full: FullExperiment, request: CreateExperiment) -> None:
    """Recommend an arm, promote its model if requested, and end the experiment, in one transaction."""
    run = full.comparison
    compared = None
    values: dict[str, Any] = {}
    if run is not None:
        compared = Compared(status=run.status, options=stored_options(run), outcome=stored_outcome(run))
        if run.status != "succeeded":
            values["comparison_detail"] = run.error_message or f"The comparison was {run.status}."
    settings, results = [stored_settings(arm.row) for arm in full.arms], _results(full)
    async with ctx.db.worker() as session:
        comparable = losses_are_comparable(settings, await _encodings(ctx, session, settings))
        recommended = recommendation(results, compared, comparable=comparable)
        scaling = data_scaling(settings, results)
        values["outcome"] = msgspec.to_builtins({"recommended": recommended, "data_scaling": scaling})
        if request.promote is not None:
            await lock_aliases(session, full.row.project_id)
            reason = refusal_of_promotion(
                recommended, request.comparison, compared, detail=full.row.comparison_detail
            ) or await _promote(ctx, session, full, request, recommended, compared, results)
            values |= {
                "promotion_status": "promoted" if reason is None else "refused",
                "promotion_detail": reason,
            }
        await end(session, claimed, "succeeded", values)
    fault_points.point("experiment.ended")


async def _promote(
    ctx: Context,
    session: AsyncSession,
    full: FullExperiment,
    request: CreateExperiment,
    recommended: Recommended,
    compared: Compared | None,
    results: Sequence[Result],
) -> str | None:
    """Point the alias at the recommended model. Returns why that is impossible, else None."""
    name = request.promote or ""
    if compared is not None and request.comparison is not None and request.comparison.must_beat == "current":
        alias = await find_alias(session, full.row.project_id, name)
        if alias is not None and alias.model != compared.options.models[0].model:
            return f"The alias was promoted to {alias.model} meanwhile, which the arms were not compared with."
    return await deploy(
        session,
        project_id=full.row.project_id,
        name=name,
        model=recommended.model or "",
        job_id=next(each.job_id for each in results if each.arm == recommended.arm),
        catalogue=ctx.catalogue,
    )


async def _encodings(ctx: Context, session: AsyncSession, arms: Sequence[ArmSettings]) -> list[str]:
    """The encodings of the arms' base models; that of a model that has gone is its name."""
    found = []
    for name in dict.fromkeys(arm.model for arm in arms):
        base = ctx.catalogue.find(name)
        if base is None and (tuned := await session.get(Model, name)) is not None:
            base = ctx.catalogue.find(tuned.base_model)
        found.append(name if base is None else base.encoding)
    return found


def _results(full: FullExperiment) -> list[Result]:
    return [
        Result(
            arm=arm.row.arm,
            job_id=job.id,
            model=job.fine_tuned_model,
            examples=arm.row.examples,
            valid_loss=job.valid_loss,
            cost_micros=job.cost_micros or 0,
        )
        for arm in full.arms
        if (job := arm.job) is not None and job.state == "succeeded" and job.fine_tuned_model is not None
    ]


def _by_loss(result: Result) -> tuple[bool, float, int]:
    return result.valid_loss is None, result.valid_loss or 0.0, result.arm


def _last_end(full: FullExperiment) -> dt.datetime:
    ends = [arm.job.finished_at for arm in full.arms if arm.job is not None and arm.job.finished_at is not None]
    return max(ends, default=full.row.created_at)
