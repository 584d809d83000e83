"""Deployments that depend on a comparison: starts the comparison, and moves the alias if the comparison passes.

A deployment is due when its job has succeeded and when its comparison has ended, each in the same transaction. If the
comparison cannot begin, as when an upstream's credential is unusable, that deployment alone is attempted again later,
and its job's timeline says why.
"""

import datetime as dt

import msgspec
import structlog
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.backoff import backoff_seconds
from service.database import leases
from service.database.leases import Claim, LeaseLost
from service.database.tables import Deployment, Job, Model, Run
from service.errors import ApiError, InFlight, InvalidRequest
from service.inference.routing import Router
from service.jobs.deployment import DeployComparison, comparison_for, why_not
from service.jobs.record import NewEvent, add_events
from service.models.aliases.actions import deploy
from service.models.aliases.queries import find_alias, lock_aliases
from service.runs.comparisons.actions import ResolvedComparison, create_comparison, resolve_comparison
from service.runs.comparisons.options import Condition
from service.runs.comparisons.stored import stored_options, stored_outcome
from workers.context import Context

log = structlog.get_logger()

MAX_BACKOFF_SECONDS = 60.0
MAX_WAIT_HOURS = 24
"""A deployment is refused when its comparison could not begin for this time."""

INTERNAL_ERROR = "An internal error; it is attempted again. The platform team can find its cause by the job's id."


async def advance_deployment(ctx: Context, claimed: Claim[Deployment]) -> None:
    """Start the comparison of a claimed deployment, or decide by it. A failed attempt is repeated after a pause."""
    structlog.contextvars.bind_contextvars(job_id=claimed.row.id, project_id=claimed.row.project_id)
    async with leases.heartbeat(ctx.db, claimed):
        async with ctx.db.worker() as session:
            job = await session.get_one(Job, claimed.row.id)
        try:
            if job.deploy_status != "comparing":
                async with ctx.db.worker() as session:
                    await leases.give_back(session, claimed, {}, due_in_seconds=None)
            elif job.deploy_run_id is None:
                await _start_comparison(ctx, claimed, job)
            else:
                await _decide(ctx, claimed, job)
        except InFlight as pending:
            await _retry_later(ctx, claimed, job, pending.message)
        except InvalidRequest as refusal:
            await _refuse(ctx, claimed, job, refusal.message)
        except ApiError as error:
            await _retry_later(ctx, claimed, job, error.message)
        except LeaseLost:
            raise
        except Exception as error:
            log.error("deployment.step_failed", failures=claimed.row.failures + 1, exc_info=error)
            await _retry_later(ctx, claimed, job, INTERNAL_ERROR)


async def _start_comparison(ctx: Context, claimed: Claim[Deployment], job: Job) -> None:
    """Start the job's comparison, whose end makes the deployment due. Raises `ApiError` if it cannot be created now."""
    request = msgspec.convert(job.deploy_comparison, DeployComparison)
    resolved = await resolve_comparison(
        comparison_for(
            request,
            tuned=job.fine_tuned_model or "",
            reference=await _reference(ctx, job, request),
        ),
        router=Router(db=ctx.db, catalogue=ctx.catalogue, accounts=ctx.accounts),
        meter=ctx.meter,
        evaluator=ctx.evaluator,
        project_id=job.project_id,
        max_concurrency=ctx.settings.run_concurrency,
    )
    run_id = await _create_comparison(ctx, claimed, job, request, resolved)
    if run_id is not None:
        log.info("deployment.comparing", job=job.id, comparison=run_id)


async def _create_comparison(
    ctx: Context, claimed: Claim[Deployment], job: Job, request: DeployComparison, resolved: ResolvedComparison
) -> str | None:
    run_id: str | None = None
    async with ctx.db.worker() as session:
        if await _still_comparing(session, job):
            condition = Condition(job_id=job.id, sure=request.sure, least_score=request.least_score)
            run = await create_comparison(session, job.project_id, job.api_key_id or "", resolved, condition=condition)
            run_id = run.id
            values = {"deploy_run_id": run.id, "deploy_detail": None}
            await session.execute(update(Job).where(Job.id == job.id).values(values))
            others = ", ".join(each.requested for each in resolved.options.models[:-1])
            against = f" with {others}" if others else ""
            await _add_event(session, job, NewEvent(message=f"Comparing the model{against}: {run.id}"))
        await leases.give_back_idle(session, claimed, {"failures": 0})
    fault_points.point("deployment.begun")
    return run_id


async def _decide(ctx: Context, claimed: Claim[Deployment], job: Job) -> None:
    """Deploy the model or refuse the deployment, once the comparison has ended."""
    async with ctx.db.worker() as session:
        run = await session.get(Run, job.deploy_run_id)
        if run is not None and run.finished_at is None:
            await leases.give_back_idle(session, claimed, {})
            return
        await lock_aliases(session, job.project_id)
        if await _still_comparing(session, job):
            reason = await _reason_to_refuse(session, job, run)
            if reason is None:
                reason = await deploy(
                    session,
                    project_id=job.project_id,
                    name=job.deploy_alias or "",
                    model=job.fine_tuned_model or "",
                    job_id=job.id,
                    catalogue=ctx.catalogue,
                )
            await _record_decision(session, job, reason)
        await leases.give_back(session, claimed, {"failures": 0}, due_in_seconds=None)
    fault_points.point("deployment.decided")


async def _reason_to_refuse(session: AsyncSession, job: Job, run: Run | None) -> str | None:
    """Why the model must not be deployed; None if it may be."""
    outcome = stored_outcome(run) if run is not None else None
    if run is None or outcome is None or run.status != "succeeded":
        if run is None:
            return "The comparison no longer exists."
        return "The comparison was cancelled." if run.status == "cancelled" else f"The comparison has {run.status}."
    options = stored_options(run)
    reference = options.models[0].model if len(options.models) > 1 else None
    if options.condition is not None:
        reason = why_not(outcome, options.condition, reference=reference)
        if reason is not None:
            return f"The comparison did not pass: {reason}."
    request = msgspec.convert(job.deploy_comparison, DeployComparison)
    alias = await find_alias(session, job.project_id, job.deploy_alias or "")
    if request.must_beat == "current" and alias is not None and alias.model != reference:
        return f"The alias was promoted to {alias.model} meanwhile, which the model was not compared with."
    return None


async def _reference(ctx: Context, job: Job, request: DeployComparison) -> str | None:
    """The model that the tuned one must beat: the alias's current model or the base model; None if there is none."""
    if request.must_beat is None:
        return None
    async with ctx.db.worker() as session:
        alias = await find_alias(session, job.project_id, job.deploy_alias or "")
        if request.must_beat == "current" and alias is not None:
            return alias.model
        base = await session.scalar(select(Model.base_model).where(Model.name == job.fine_tuned_model))
    return base or job.model


async def _still_comparing(session: AsyncSession, job: Job) -> bool:
    """Whether the job's row is unchanged and its model still being compared. Locks the row for this transaction."""
    same = Job.deploy_run_id.is_not_distinct_from(job.deploy_run_id)
    query = select(Job.id).where(Job.id == job.id, _comparing(), same).with_for_update()
    return await session.scalar(query) is not None


async def _retry_later(ctx: Context, claimed: Claim[Deployment], job: Job, reason: str) -> None:
    """Give the deployment back for a growing pause with the reason; refuse it when it has waited for too long."""
    if dt.datetime.now(dt.UTC) - claimed.row.created_at > dt.timedelta(hours=MAX_WAIT_HOURS):
        await _refuse(ctx, claimed, job, f"It could not be compared for {MAX_WAIT_HOURS} hours: {reason}")
        return
    failures = claimed.row.failures + 1
    async with ctx.db.worker() as session:
        if reason != job.deploy_detail and await _still_comparing(session, job):
            await session.execute(update(Job).where(Job.id == job.id).values(deploy_detail=reason))
            await _add_event(session, job, NewEvent(message=f"The model is not compared yet: {reason}"))
        seconds = backoff_seconds(claimed.row.failures, max_seconds=MAX_BACKOFF_SECONDS)
        await leases.give_back(session, claimed, {"failures": failures}, due_in_seconds=seconds)


async def _refuse(ctx: Context, claimed: Claim[Deployment], job: Job, reason: str) -> None:
    async with ctx.db.worker() as session:
        if await _still_comparing(session, job):
            await _record_decision(session, job, reason)
        await leases.give_back(session, claimed, {"failures": 0}, due_in_seconds=None)


async def _record_decision(session: AsyncSession, job: Job, refusal: str | None) -> None:
    """Record that the model is deployed, or why it was refused."""
    values = {"deploy_status": "deployed" if refusal is None else "refused", "deploy_detail": refusal}
    await session.execute(update(Job).where(Job.id == job.id).values(values))
    if refusal is None:
        message = f"The comparison passed, and the alias {job.deploy_alias} points at the model now"
        await _add_event(session, job, NewEvent(message=message))
    else:
        message = f"The model was not deployed to the alias {job.deploy_alias}: {refusal}"
        await _add_event(session, job, NewEvent(message=message, level="warn"))


async def _add_event(session: AsyncSession, job: Job, event: NewEvent) -> None:
    await add_events(session, job.id, job.project_id, [event])


def _comparing() -> ColumnElement[bool]:
    return Job.deploy_status == "comparing"
