"""The actions on jobs: create, cancel, pause, resume. Each runs in its caller's transaction; workers do the rest."""

import datetime as dt
import secrets
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing import actions as billing
from service.billing.ledger import line_item
from service.billing.prices import dollar_text
from service.billing.quote import Estimate
from service.catalogue.base_models import Catalogue
from service.database.advisory_locks import PROJECT_QUEUE
from service.database.leased_work import JOBS, wake
from service.database.tables import Job, Project, Quote, UpstreamAccount
from service.datasets.files.queries import get_referenced_file
from service.datasets.leakage.reports import check_new_leakage_report
from service.errors import InvalidRequest, QuotaExceeded
from service.identity.queries import get_active_project
from service.ids import new_id
from service.jobs import warnings
from service.jobs.adapter_settings import adapter_type, resolve_adapter
from service.jobs.deployment import DeployComparison, check_condition
from service.jobs.estimates import budget_micros_of, stored_gpu_seconds
from service.jobs.lifecycle import JobError
from service.jobs.queries import count_queued, get_job
from service.jobs.record import NewEvent, add_events, add_timeline_entry, emit_webhook
from service.jobs.resolved_request import (
    ResolvedRequest,
    TrainingRequest,
    check_offer,
    find_base,
    providers_of,
    resolve,
)
from service.jobs.rules import check_create, check_method
from service.jobs.schemas import CreateJob
from service.limits.enforcement import reserve_tokens
from service.models.aliases.names import check_not_a_base_model
from service.states import ACTIVE, ENDED
from service.upstreams.capabilities import CAPABILITIES, Needs

MAX_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PricingContext:
    """What offers and prices depend on: the catalogue, and the date for prices and shutdowns."""

    catalogue: Catalogue
    today: dt.date


@dataclass(frozen=True, slots=True)
class ArmOf:
    """The experiment that a job is an arm of, and the arm's number."""

    experiment_id: str
    arm: int


async def create_job(
    session: AsyncSession,
    *,
    project_id: str,
    body: CreateJob,
    pricing_context: PricingContext,
    api_key_id: str | None = None,
    arm_of: ArmOf | None = None,
) -> Job:
    """Create a job. Reserves its upper price if the training file's report is ready, else validation does so later.

    `api_key_id` is the key that the cost is attributed to, and `arm_of` is given for an experiment's job. Raises
    `InvalidRequest` if the request breaks a rule, and `QuotaExceeded` over the budget or the limit of queued jobs.
    """
    await get_active_project(session, project_id)
    method = check_create(body)
    if body.deploy is not None:
        check_not_a_base_model(pricing_context.catalogue, body.deploy.alias, param="deploy.alias")
    comparison = body.deploy.comparison if body.deploy is not None else None
    if comparison is not None:
        await _check_deploy_comparison(session, project_id, comparison)
    resolved = await resolve_request(
        session, project_id=project_id, body=body, method=method, pricing_context=pricing_context
    )
    if resolved.fault is not None:
        raise refusal(resolved.fault)
    await _check_queue(session, project_id)
    quote = await _bound_quote(session, project_id, body, method) if body.quote_id is not None else None
    leakage = warnings.of_leakage(resolved.leakage)
    known = leakage + warnings.of_shutdown(resolved.base.model, resolved.providers)
    if resolved.estimate is not None:
        known += warnings.of_budget(resolved.estimate, budget_micros_of(body.budget))
    job = Job(
        id=new_id("ftjob-"),
        project_id=project_id,
        api_key_id=api_key_id,
        state="validating",
        model=resolved.base.name,
        upstream_model=resolved.base.upstream_name,
        training_file_id=resolved.training.id,
        validation_file_id=resolved.validation.id if resolved.validation else None,
        suffix=body.suffix,
        seed=body.seed if body.seed is not None else secrets.randbelow(MAX_SEED + 1),
        caller_metadata=body.metadata or None,
        integrations=msgspec.to_builtins(body.integrations) if body.integrations else None,
        method=method,
        adapter=resolve_adapter(body.adapter),
        quote_id=body.quote_id,
        budget_micros=budget_micros_of(body.budget),
        requested_account_id=body.upstream_account,
        priority=body.priority,
        deploy_alias=body.deploy.alias if body.deploy is not None else None,
        deploy_comparison=msgspec.to_builtins(comparison) if comparison is not None else None,
        experiment_id=arm_of.experiment_id if arm_of is not None else None,
        experiment_arm=arm_of.arm if arm_of is not None else None,
        warnings=warnings.stored(known),
        due_at=func.now(),
    )
    if quote is not None:
        job.n_epochs, job.expected_micros = quote.n_epochs, quote.expected_micros
        job.price_micros_per_million = quote.price_micros_per_million
        job.price_micros_per_gpu_second, job.gpu_estimate = quote.price_micros_per_gpu_second, quote.gpu_estimate
        await _reserve(session, job, upper_micros=quote.upper_micros, billable_tokens=quote.billable_tokens)
    elif resolved.estimate is not None:
        await accept_estimate(session, job, resolved.estimate)
    session.add(job)
    await session.flush()
    events = [NewEvent(message=f"Created fine-tuning job: {job.id}")]
    events += [NewEvent(message=each.message, level="warn") for each in leakage]
    sequence = await add_events(session, job.id, project_id, events)
    await add_timeline_entry(session, job, "validating", sequence, "The job was created.")
    await session.refresh(job)
    await emit_webhook(session, job, "fine_tuning.job.created")
    wake(session, JOBS, job.id, 0)
    return job


async def resolve_request(
    session: AsyncSession,
    *,
    project_id: str,
    body: TrainingRequest,
    method: dict[str, Any],
    pricing_context: PricingContext,
) -> ResolvedRequest:
    """Resolve the body of a create or a quote: look up its `model`, `training_file` and `validation_file`."""
    if body.validation_file is not None:
        await check_new_leakage_report(session, project_id, body.training_file, body.validation_file)
    base = await find_base(
        session,
        pricing_context.catalogue,
        project_id=project_id,
        name=body.model,
        providers=await providers_of(session, project_id),
        today=pricing_context.today,
    )
    check_method(method, base.model)
    accounts = await check_offer(
        session,
        pricing_context.catalogue,
        project_id=project_id,
        name=body.model,
        method_type=method["type"],
        needs=_needs(body),
        today=pricing_context.today,
    )
    training = await get_referenced_file(session, project_id, body.training_file, param="training_file")
    validation = None
    if body.validation_file is not None:
        validation = await get_referenced_file(session, project_id, body.validation_file, param="validation_file")
    return await resolve(
        session,
        catalogue=pricing_context.catalogue,
        base=base,
        accounts=accounts,
        method=method,
        adapter_type=adapter_type(resolve_adapter(body.adapter)),
        budget_micros=budget_micros_of(body.budget),
        training=training,
        validation=validation,
        today=pricing_context.today,
    )


async def accept_estimate(session: AsyncSession, job: Job, estimate: Estimate) -> None:
    """Reserve an estimate's upper price and store its epochs and prices in the job. Raises `QuotaExceeded`."""
    job.n_epochs, job.expected_micros = estimate.n_epochs, estimate.expected_micros
    job.price_micros_per_million = estimate.price_micros_per_million
    job.price_micros_per_gpu_second = estimate.price_micros_per_gpu_second
    job.gpu_estimate = stored_gpu_seconds(estimate)
    await _reserve(session, job, upper_micros=estimate.upper_micros, billable_tokens=estimate.billable_tokens)


async def request_cancel(session: AsyncSession, project_id: str, job_id: str) -> Job:
    """Request a cancel, which workers carry out at the next step. Repeating it changes nothing.

    Raises `InvalidRequest` for a job that has succeeded or failed.
    """
    job = await get_job(session, project_id, job_id, lock=True)
    if job.state == "cancelled":
        return job
    if job.state in ENDED:
        raise InvalidRequest(
            f"Job {job.id} has already {job.state}; only a job that has not ended can be cancelled.",
            param="fine_tuning_job_id",
            code="job_not_cancellable",
        )
    if job.cancel_requested_at is None:
        job.cancel_requested_at = await session.scalar(select(func.now()))
        await _make_due(session, job, "Cancel requested.")
    return job


async def request_pause(session: AsyncSession, project_id: str, job_id: str, *, pause: bool) -> Job:
    """Request a pause, or a resume. Repeating a request changes nothing.

    Raises `InvalidRequest` for an ended job, and for a pause at an upstream that cannot pause.
    """
    job = await get_job(session, project_id, job_id, lock=True)
    if job.state in ENDED:
        verb = "paused" if pause else "resumed"
        raise InvalidRequest(
            f"Job {job.id} has already {job.state} and cannot be {verb}.",
            param="fine_tuning_job_id",
            code="job_not_pausable" if pause else "job_not_resumable",
        )
    if pause and job.state in ACTIVE and job.account_id is not None:
        kind = await session.scalar(select(UpstreamAccount.kind).where(UpstreamAccount.id == job.account_id))
        if kind is not None and not CAPABILITIES[kind].pause:
            raise InvalidRequest(
                f"Job {job.id} is at an upstream that cannot pause. Cancel it, or let it run.",
                param="fine_tuning_job_id",
                code="upstream_unsupported",
            )
    if job.pause_requested != pause:
        job.pause_requested = pause
        await _make_due(session, job, "Pause requested." if pause else "Resume requested.")
    return job


def _needs(body: TrainingRequest) -> Needs:
    """What a request requires of its account. A quote names none, and has no suffix and no integrations."""
    if not isinstance(body, CreateJob):
        return Needs(adapter=body.adapter is not None)
    return Needs(
        account_id=body.upstream_account,
        suffix=body.suffix,
        integrations=bool(body.integrations),
        adapter=body.adapter is not None,
    )


def refusal(fault: JobError) -> InvalidRequest:
    """The refusal of a request whose dataset has this fault."""
    return InvalidRequest(fault.message, code=fault.code, param=fault.param)


async def _make_due(session: AsyncSession, job: Job, message: str) -> None:
    job.due_at = await session.scalar(select(func.clock_timestamp()))
    await session.flush()
    sequence = await add_events(session, job.id, job.project_id, [NewEvent(message=message)])
    await session.refresh(job)
    wake(session, JOBS, job.id, f"request{sequence}")


async def _reserve(session: AsyncSession, job: Job, *, upper_micros: int, billable_tokens: int) -> None:
    month = billing.month_of(dt.datetime.now(dt.UTC))
    await reserve_tokens(
        session, project_id=job.project_id, job_id=job.id, billable_tokens=billable_tokens, month=month
    )
    granted = await billing.reserve(
        session,
        project_id=job.project_id,
        subject=job.id,
        line_item=line_item(job.model, by_gpu_second=job.price_micros_per_gpu_second is not None),
        amount_micros=upper_micros,
        month=month,
        api_key_id=job.api_key_id,
        model=job.model,
    )
    if not granted:
        standing = await billing.month_balance(session, job.project_id, month)
        raise QuotaExceeded(
            f"This job may cost up to {dollar_text(upper_micros)}, and the monthly budget has "
            f"{dollar_text(standing.remaining or 0)} left. Use fewer epochs or tokens, or request a higher limit."
        )


async def _check_deploy_comparison(session: AsyncSession, project_id: str, comparison: DeployComparison) -> None:
    """Check a job's `deploy.comparison`, whose graders are checked before the transaction. Raises `InvalidRequest`."""
    check_condition(comparison, param="deploy.comparison")
    await get_referenced_file(session, project_id, comparison.file, param="deploy.comparison.file")


async def _check_queue(session: AsyncSession, project_id: str) -> None:
    await session.execute(PROJECT_QUEUE.take(project_id))
    max_queued = await session.scalar(select(Project.max_queued_jobs).where(Project.id == project_id))
    if max_queued is not None and await count_queued(session, project_id) >= max_queued:
        raise QuotaExceeded(
            f"The project has {max_queued} jobs waiting, which is its limit. Wait for some to start, or cancel some.",
            code="too_many_queued_jobs",
        )


async def _bound_quote(session: AsyncSession, project_id: str, body: CreateJob, method: dict[str, Any]) -> Quote:
    quote = (
        await session.scalars(select(Quote).where(Quote.project_id == project_id, Quote.id == body.quote_id))
    ).one_or_none()
    if quote is None:
        raise InvalidRequest(f"No quote '{body.quote_id}'.", param="quote_id", code="quote_not_found")
    now = await session.scalar(select(func.now()))
    if now is None or quote.expires_at <= now:
        raise InvalidRequest("The quote has expired. Request a new one.", param="quote_id", code="quote_expired")
    if quote.request != quoted_request(body, method):
        raise InvalidRequest(
            "The quote is for another model, file, method, adapter or budget. Request one for this job.",
            param="quote_id",
            code="quote_mismatch",
        )
    return quote


def quoted_request(body: TrainingRequest, method: dict[str, Any]) -> dict[str, Any]:
    """The part of a request that a quote is binding for."""
    adapter = resolve_adapter(body.adapter)
    request: dict[str, Any] = {
        "model": body.model,
        "training_file": body.training_file,
        "validation_file": body.validation_file,
        "method": method,
    }
    ours = {"adapter": adapter, "budget_micros": budget_micros_of(body.budget)}
    return request | {name: value for name, value in ours.items() if value is not None}
