"""Deployments that depend on a comparison: starts the comparison, and moves the alias if the comparison passes.

A query every few seconds finds these deployments, without wake-ups. So neither a crash between a job's end and the
start of its comparison, nor a cancelled comparison, leaves a deployment pending forever.
"""

import msgspec
import structlog
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.database.tables import Job, Model, Run
from service.errors import InFlight, InvalidRequest
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

BATCH = 20


async def advance_deployments(ctx: Context) -> int:
    """Advance the deployments whose model is being compared. Returns their number."""
    async with ctx.db.worker() as session:
        jobs = (await session.scalars(select(Job).where(_comparing()).order_by(Job.id).limit(BATCH))).all()
    for job in jobs:
        if job.deploy_run_id is None:
            await _start_comparison(ctx, job)
        else:
            await _decide(ctx, job)
    return len(jobs)


async def _start_comparison(ctx: Context, job: Job) -> None:
    """Start the job's comparison, once even if workers race. If it cannot be created, the deployment is refused."""
    request = msgspec.convert(job.deploy_comparison, DeployComparison)
    try:
        resolved = await resolve_comparison(
            comparison_for(
                request,
                tuned=job.fine_tuned_model or "",
                reference=await _reference(ctx, job, request),
            ),
            router=Router(db=ctx.db, catalogue=ctx.catalogue, accounts=ctx.accounts),
            meter=ctx.meter,
            project_id=job.project_id,
            max_concurrency=ctx.settings.run_concurrency,
        )
        run_id = await _create_comparison(ctx, job, request, resolved)
    except InFlight:
        return
    except InvalidRequest as refusal:
        async with ctx.db.worker() as session:
            if await _still_comparing(session, job):
                await _refuse(session, job, refusal.message)
        return
    if run_id is not None:
        log.info("deployment.comparing", job=job.id, comparison=run_id)


async def _create_comparison(
    ctx: Context, job: Job, request: DeployComparison, resolved: ResolvedComparison
) -> str | None:
    async with ctx.db.worker() as session:
        if not await _still_comparing(session, job):
            return None
        condition = Condition(job_id=job.id, sure=request.sure, least_score=request.least_score)
        run = await create_comparison(session, job.project_id, job.api_key_id or "", resolved, condition=condition)
        await session.execute(update(Job).where(Job.id == job.id).values(deploy_run_id=run.id))
        others = ", ".join(each.requested for each in resolved.options.models[:-1])
        against = f" with {others}" if others else ""
        await _add_event(session, job, NewEvent(message=f"Comparing the model{against}: {run.id}"))
    fault_points.point("deployment.begun")
    return run.id


async def _decide(ctx: Context, job: Job) -> None:
    """Deploy the model or refuse the deployment, once the comparison has ended."""
    async with ctx.db.worker() as session:
        run = await session.get(Run, job.deploy_run_id)
        if run is not None and run.finished_at is None:
            return
        await lock_aliases(session, job.project_id)
        if not await _still_comparing(session, job):
            return
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
        if reason is not None:
            await _refuse(session, job, reason)
        else:
            values = {"deploy_status": "deployed", "deploy_detail": None}
            await session.execute(update(Job).where(Job.id == job.id).values(values))
            message = f"The comparison passed, and the alias {job.deploy_alias} points at the model now"
            await _add_event(session, job, NewEvent(message=message))
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


async def _refuse(session: AsyncSession, job: Job, reason: str) -> None:
    values = {"deploy_status": "refused", "deploy_detail": reason}
    await session.execute(update(Job).where(Job.id == job.id).values(values))
    message = f"The model was not deployed to the alias {job.deploy_alias}: {reason}"
    await _add_event(session, job, NewEvent(message=message, level="warn"))


async def _add_event(session: AsyncSession, job: Job, event: NewEvent) -> None:
    await add_events(session, job.id, job.project_id, [event])


def _comparing() -> ColumnElement[bool]:
    return Job.deploy_status == "comparing"
