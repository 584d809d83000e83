"""From accepted to admitted: the datasets are judged and the money reserved, then the job waits for a free slot."""

import msgspec
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from service import claims
from service.billing import actions as billing
from service.claims import Claim
from service.datasets.actions import ask_for_report
from service.datasets.report_schema import FileReport as Report
from service.errors import InvalidRequest, QuotaExceeded
from service.jobs.actions import accept_estimate
from service.jobs.lifecycle import ACTIVE, JobError
from service.jobs.order import estimate_for
from service.jobs.record import Move, move
from service.jobs.rules import dataset_fault
from service.models.catalogue import BaseModel
from service.tables import File, Job, Model, Project, UpstreamAccount
from workers.context import Context

LOOK_AGAIN_SECONDS = 5.0
SLOT_LOOK_SECONDS = 2.0
PAUSED_LOOK_SECONDS = 300.0


async def judge(ctx: Context, claimed: Claim[Job]) -> None:
    """`validating` → `waiting`, `failed` or `cancelled`; or wait on for a report."""
    job = claimed.row
    async with ctx.db.worker() as session:
        if job.cancel_requested_at is not None:
            await cancel(session, claimed, "Cancelled before it began.")
            return
        base = await _base_model(ctx, session, job)
        if base is None:
            await fail(
                session, claimed, JobError("model_not_found", f"The model {job.model} is no longer offered.", "model")
            )
            return
        training: Report | None = None
        for file_id, param in ((job.training_file_id, "training_file"), (job.validation_file_id, "validation_file")):
            if file_id is None:
                continue
            report = await _report(session, file_id, base)
            if report is None:
                await claims.give_back(
                    session,
                    claimed,
                    {"waiting_reason": f"The {param} is being checked."},
                    due_in_seconds=LOOK_AGAIN_SECONDS,
                )
                return
            fault = dataset_fault(report, method_type=job.method["type"], model=base, param=param)
            if fault is not None:
                await fail(session, claimed, fault)
                return
            training = training or report
        if job.price_micros_per_million is None and training is not None:
            try:
                estimate = await estimate_for(session, training, base, job.method, ctx.today())
                await accept_estimate(session, job, estimate)
            except (QuotaExceeded, InvalidRequest) as refused:
                await fail(session, claimed, JobError(refused.code, refused.message, refused.param))
                return
        await move(
            session,
            claimed,
            Move(
                to="waiting",
                message="Files validated, moving job to queued state",
                values={
                    "n_epochs": job.n_epochs,
                    "price_micros_per_million": job.price_micros_per_million,
                    "expected_micros": job.expected_micros,
                },
            ),
        )


async def admit(ctx: Context, claimed: Claim[Job]) -> None:
    """`waiting` → `uploading` when the account and the project have a free slot."""
    job, account_id = claimed.row, ctx.upstream.account_id
    async with ctx.db.worker() as session:
        if job.cancel_requested_at is not None:
            await cancel(session, claimed, "Cancelled while it waited.")
            return
        if job.pause_requested:
            await _wait(session, claimed, "Paused by the caller.", PAUSED_LOOK_SECONDS)
            return
        await session.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:account, 2))"), {"account": account_id}
        )
        account = await session.get_one(UpstreamAccount, account_id, populate_existing=True)
        now = await session.scalar(select(func.now()))
        if account.held_until is not None and now is not None and account.held_until > now:
            left = (account.held_until - now).total_seconds()
            await _wait(session, claimed, f"The upstream account is held: {account.held_reason}", min(left, 60.0))
            return
        active = Job.state.in_(ACTIVE)
        busy = await session.scalar(select(func.count()).select_from(Job).where(Job.account_id == account_id, active))
        if (busy or 0) >= account.max_active_jobs:
            reason = f"The upstream account runs {account.max_active_jobs} jobs, which is its limit."
            await _wait(session, claimed, reason, SLOT_LOOK_SECONDS)
            return
        own = await session.scalar(
            select(func.count()).select_from(Job).where(Job.project_id == job.project_id, active)
        )
        most = await session.scalar(select(Project.max_active_jobs).where(Project.id == job.project_id))
        if (own or 0) >= (most or 0):
            await _wait(session, claimed, f"The project runs {most} jobs, which is its limit.", SLOT_LOOK_SECONDS)
            return
        await move(
            session,
            claimed,
            Move(to="uploading", message="Sending the files to the upstream", values={"account_id": account_id}),
        )


async def cancel(session: AsyncSession, claimed: Claim[Job], reason: str) -> None:
    """End a job that has cost nothing as cancelled, giving its reservation back."""
    await billing.settle(session, subject=claimed.row.id, actual_micros=0, quantity=0)
    await move(
        session,
        claimed,
        Move(
            to="cancelled",
            message="The job was cancelled",
            reason=reason,
            values={"cost_micros": 0},
            due_in_seconds=None,
        ),
    )


async def fail(session: AsyncSession, claimed: Claim[Job], error: JobError) -> None:
    """End a job that has cost nothing as failed, giving its reservation back."""
    await billing.settle(session, subject=claimed.row.id, actual_micros=0, quantity=0)
    await move(
        session,
        claimed,
        Move(
            to="failed",
            message=f"The job failed: {error.message}",
            reason=error.code,
            error=error,
            values={"cost_micros": 0},
            due_in_seconds=None,
        ),
    )


async def _wait(session: AsyncSession, claimed: Claim[Job], reason: str, seconds: float) -> None:
    await claims.give_back(session, claimed, {"waiting_reason": reason}, due_in_seconds=seconds)


async def _base_model(ctx: Context, session: AsyncSession, job: Job) -> BaseModel | None:
    base = ctx.catalogue.find(job.model)
    if base is None:
        tuned = await session.get(Model, job.model)
        base = ctx.catalogue.find(tuned.base_model) if tuned is not None else None
    return base


async def _report(session: AsyncSession, file_id: str, base: BaseModel) -> Report | None:
    file = await session.get_one(File, file_id)
    row = await ask_for_report(session, file, base)
    return None if row.report is None else msgspec.convert({**row.report, "file_id": file.id}, Report)
