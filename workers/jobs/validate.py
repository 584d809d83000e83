"""`validating` → `waiting`: checks the datasets' reports and reserves the money."""

from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import BaseModel
from service.database import leases
from service.database.leases import Claim
from service.database.tables import File, Job, Model
from service.datasets.files.reports import request_ready_report
from service.datasets.report_schema import FileReport
from service.errors import InvalidRequest, QuotaExceeded
from service.jobs import warnings
from service.jobs.actions import accept_estimate
from service.jobs.adapter_settings import adapter_type
from service.jobs.estimates import Kind, terms_of
from service.jobs.lifecycle import JobError
from service.jobs.record import apply_transition, with_warnings
from service.jobs.rules import dataset_fault
from service.jobs.summary import JobWarning
from service.jobs.transitions import Transition
from service.upstreams.queries import needs_of, offer
from workers.context import Context
from workers.jobs.end_unbilled import cancel_unbilled, fail_unbilled

RECHECK_SECONDS = 5.0
"""A finished report makes its jobs due at once; this interval is for a wake-up that was lost."""


async def validate(ctx: Context, claimed: Claim[Job]) -> None:
    """`validating` → `waiting`, `failed` or `cancelled`; stays in `validating` while a report is being made."""
    job = claimed.row
    async with ctx.db.worker() as session:
        if job.cancel_requested_at is not None:
            await cancel_unbilled(session, claimed, "Cancelled before it began.")
            return
        base = await _base_model(ctx, session, job)
        if base is None:
            error = JobError("model_not_found", f"The model {job.model} is no longer offered.", "model")
            await fail_unbilled(session, claimed, error)
            return
        training: FileReport | None = None
        found: list[JobWarning] = []
        for file_id, param in ((job.training_file_id, "training_file"), (job.validation_file_id, "validation_file")):
            if file_id is None:
                continue
            report = await _report(session, file_id, base)
            if report is None:
                reason = {"waiting_reason": f"The {param} is being checked."}
                await leases.give_back(session, claimed, reason, due_in_seconds=RECHECK_SECONDS)
                return
            fault = dataset_fault(report, method_type=job.method["type"], model=base, param=param)
            if fault is not None:
                await fail_unbilled(session, claimed, fault)
                return
            training = training or report
            found += warnings.of_report(report, param)
        if job.price_micros_per_million is None and training is not None:
            try:
                kind = await _kind(ctx, session, job, base)
                terms = await terms_of(session, kind, budget_micros=job.budget_micros, today=ctx.today())
                estimate = terms.estimate(training, job.method)
                await accept_estimate(session, job, estimate)
                found += warnings.of_budget(estimate, job.budget_micros)
            except (QuotaExceeded, InvalidRequest) as refusal:
                await fail_unbilled(session, claimed, JobError(refusal.code, refusal.message, refusal.param))
                return
        transition = Transition.to_waiting(
            n_epochs=job.n_epochs,
            price_micros_per_million=job.price_micros_per_million,
            price_micros_per_gpu_second=job.price_micros_per_gpu_second,
            gpu_estimate=job.gpu_estimate,
            expected_micros=job.expected_micros,
            warnings=with_warnings(found),
        )
        await apply_transition(session, claimed, transition)


async def _kind(ctx: Context, session: AsyncSession, job: Job, base: BaseModel) -> Kind:
    found = await offer(
        session,
        project_id=job.project_id,
        model=job.model,
        method_type=job.method["type"],
        catalogue=ctx.catalogue,
        today=ctx.today(),
        needs=needs_of(job),
    )
    return Kind(
        model=base,
        method=job.method,
        adapter_type=adapter_type(job.adapter),
        account_ids=[account.id for account in (*found.accounts, *found.waiting)],
    )


async def _base_model(ctx: Context, session: AsyncSession, job: Job) -> BaseModel | None:
    base = ctx.catalogue.find(job.model)
    if base is None:
        tuned = await session.get(Model, job.model)
        base = ctx.catalogue.find(tuned.base_model) if tuned is not None else None
    return base


async def _report(session: AsyncSession, file_id: str, base: BaseModel) -> FileReport | None:
    file = await session.get_one(File, file_id)
    return await request_ready_report(session, file, base)
