"""Starts the arms of an experiment: each job is created once, while the budget has room for its upper price.

The job, its reservation, the arm's row and the fence of the experiment are one transaction. The ledger alone decides
about the budget: after the job has reserved, the sum of what the arms have cost and reserved must not exceed it, or the
transaction is rolled back. So neither a worker that lost its lease nor a kill at any moment creates an arm twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.billing.actions import committed, reserved_micros
from service.billing.prices import dollar_text
from service.database import leases
from service.database.leases import Claim
from service.database.tables import Experiment, ExperimentArm, Job
from service.errors import InvalidRequest, QuotaExceeded
from service.experiments.arms import job_of
from service.experiments.queries import Arm, FullExperiment
from service.experiments.stored import stored_request, stored_settings
from service.jobs.actions import ArmOf, PricingContext, create_job, resolve_request
from service.jobs.rules import check_create
from service.jobs.schemas import CreateJob
from workers.context import Context

TEMPORARY = ("too_many_queued_jobs", "too_much_unfinished_work")
"""Refusals that pass without the caller's doing."""


@dataclass(frozen=True, slots=True)
class Started:
    """The arm has its job."""


@dataclass(frozen=True, slots=True)
class Waits:
    """The arm cannot start now. `briefly`: only until its file is checked."""

    reason: str
    briefly: bool = False


class _OverBudget(Exception):
    """The arm's reservation would exceed the experiment's budget, so its transaction is rolled back."""


class _NothingReserved(Exception):
    """The report that the price follows from has just been deleted, so the transaction is rolled back."""


async def start_arm(ctx: Context, claimed: Claim[Experiment], full: FullExperiment, arm: Arm) -> Started | Waits:
    """Create the arm's job, or skip the arm with the reason. Raises `LeaseLost`."""
    request, row = stored_request(full.row), full.row
    settings = stored_settings(arm.row)
    body = job_of(request, settings, training_file=arm.row.training_file_id or row.training_file_id)
    others_run = any(each.is_running for each in full.arms)
    try:
        if (waits := await _check_files(ctx, row.project_id, body)) is not None:
            return waits
        await _create(ctx, claimed, full, arm, body)
    except _NothingReserved:
        return Waits("The training file is being checked.", briefly=True)
    except _OverBudget:
        reason = f"The budget of {dollar_text(row.budget_micros)} leaves no room for its upper price."
        if others_run:
            return Waits(f"Arm {arm.row.arm}: {reason}")
        await skip(ctx, claimed, [arm.row.arm], reason)
    except QuotaExceeded as refused:
        if others_run or refused.code in TEMPORARY:
            return Waits(f"Arm {arm.row.arm}: {refused.message}")
        await skip(ctx, claimed, [arm.row.arm], refused.message)
    except InvalidRequest as refused:
        await skip(ctx, claimed, [arm.row.arm], refused.message)
    return Started()


async def skip(ctx: Context, claimed: Claim[Experiment], arms: list[int], reason: str) -> None:
    """Record that no job will be created for these arms, and why."""
    async with ctx.db.worker() as session:
        await _update_arms(session, claimed, arms, skipped_reason=reason)
        await leases.write(session, claimed, {"failures": 0})


async def _check_files(ctx: Context, project_id: str, body: CreateJob) -> Waits | None:
    """Request the reports that the job's price follows from, in a transaction of their own: they take a while."""
    async with ctx.db.worker() as session:
        resolved = await resolve_request(
            session,
            project_id=project_id,
            body=body,
            method=check_create(body),
            pricing_context=PricingContext(catalogue=ctx.catalogue, today=ctx.today()),
        )
    if resolved.fault is not None:
        raise InvalidRequest(resolved.fault.message, code=resolved.fault.code)
    return Waits("The training file is being checked.", briefly=True) if resolved.estimate is None else None


async def _create(ctx: Context, claimed: Claim[Experiment], full: FullExperiment, arm: Arm, body: CreateJob) -> None:
    row = full.row
    async with ctx.db.worker() as session:
        job = await create_job(
            session,
            project_id=row.project_id,
            body=body,
            pricing_context=PricingContext(catalogue=ctx.catalogue, today=ctx.today()),
            api_key_id=row.api_key_id,
            arm_of=ArmOf(row.id, arm.row.arm),
        )
        if await reserved_micros(session, job.id) is None:
            raise _NothingReserved
        together = await committed(session, await _subjects(session, row))
        if together.total_micros > row.budget_micros:
            raise _OverBudget
        await _update_arms(session, claimed, [arm.row.arm], job_id=job.id)
        await leases.write(session, claimed, {"status": "running", "waiting_reason": None, "failures": 0})
        fault_points.point("experiment.arm_created")
    fault_points.point("experiment.arm_committed")


async def _subjects(session: AsyncSession, row: Experiment) -> Sequence[str]:
    """All jobs of the experiment: `create_job` has locked the balance, so that no other is being created meanwhile."""
    query = select(Job.id).where(Job.project_id == row.project_id, Job.experiment_id == row.id)
    return (await session.scalars(query)).all()


async def _update_arms(session: AsyncSession, claimed: Claim[Experiment], arms: list[int], **values: str) -> None:
    table = ExperimentArm
    await session.execute(
        update(table)
        .where(table.experiment_id == claimed.row.id, table.arm.in_(arms), table.job_id.is_(None))
        .values(**values)
        .execution_options(synchronize_session=False)
    )
