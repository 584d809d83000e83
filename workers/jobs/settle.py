"""`settling` → an end state: stores the results, posts the cost, names the model and emits the webhook."""

import base64
import binascii
import csv
import datetime as dt
import io
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, assert_never

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.billing import actions as billing
from service.billing.prices import TOKENS_PER_PRICE
from service.database import leases
from service.database.leased_work import DEPLOYMENTS, wake
from service.database.leases import Claim
from service.database.tables import Deployment, File, Job, PendingUpload, UpstreamAccount
from service.datasets.files.actions import record_pending_upload
from service.ids import new_id
from service.jobs.lifecycle import LOST_STATUS, JobError, upstream_end
from service.jobs.record import NewEvent, add_events, apply_transition, with_warnings
from service.jobs.summary import JobWarning
from service.jobs.transitions import Transition
from service.jobs.warnings import RESULT_FILE_LOST
from service.limits.enforcement import settle_tokens
from service.models.aliases.actions import deploy
from service.states import EndState
from service.storage import Stored
from service.upstreams.port import UpstreamError, UpstreamJob
from workers.context import AccountContext
from workers.jobs import sync, verdicts
from workers.jobs.charge import add_speed, charge, count, is_by_gpu_second, overrun, reason_of_cancel
from workers.jobs.end_unbilled import release_reservations
from workers.jobs.figures import final_figures
from workers.jobs.poll import LOST_AFTER
from workers.jobs.sync import Updates

log = structlog.get_logger()

MAX_ATTEMPTS = 5
MAX_RESULT_BYTES = 64 * 1024 * 1024
RETRY_SECONDS = 2.0
CSV_COLUMNS = {
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
}


@dataclass(frozen=True, slots=True)
class Result:
    """A result file that is stored and has no row in `files` yet. `steps` are its metrics by training step."""

    storage_key: str
    stored: Stored
    steps: list[dict[str, float | int]]


async def settle(ctx: AccountContext, claimed: Claim[Job]) -> None:
    """Settle the job as its upstream job ended.

    Results that cannot be read in five attempts are left out, and an event says so.
    """
    job = claimed.row
    async with leases.heartbeat(ctx.db, claimed):
        if job.upstream_status == LOST_STATUS:
            await _end_lost(ctx, claimed)
            return
        try:
            may_retry = job.failures < MAX_ATTEMPTS
            updates = await sync.fetch_updates(ctx, claimed, complete=may_retry)
            target = _end_state(job, updates.job, may_retry=may_retry)
            results, warnings = await _results(ctx, claimed, updates)
        except (UpstreamError, TimeoutError) as error:
            await _retry(ctx, claimed, error)
            return
        fault_points.point("settle.results_stored")
        await _end(ctx, claimed, target, updates, results, warnings)


def _end_state(job: Job, upstream_job: UpstreamJob, *, may_retry: bool) -> EndState:
    """The state in which the job ends. Raises `UpstreamError` if it appears to run again, as from a lagging replica."""
    target = upstream_end(upstream_job.status)
    if target is None:
        raise UpstreamError("away", f"The upstream reports {upstream_job.status} for a job that had ended.")
    if target == "succeeded" and None in (upstream_job.trained_tokens, upstream_job.fine_tuned_model) and may_retry:
        raise UpstreamError("away", "The upstream has not reported the job's model and trained tokens yet.")
    if is_by_gpu_second(job) and sync.believed_gpu_seconds(job, upstream_job) is None and may_retry:
        raise UpstreamError("away", "The upstream has not reported GPU-seconds yet, or more than are possible.")
    return "failed" if target == "succeeded" and upstream_job.fine_tuned_model is None else target


async def _retry(ctx: AccountContext, claimed: Claim[Job], error: UpstreamError | TimeoutError) -> None:
    """Settle again later. Only "not found" counts towards giving the job up as lost; unavailability does not."""
    failures, seconds = claimed.row.failures + 1, RETRY_SECONDS * min(claimed.row.failures + 1, 10)
    values: dict[str, object] = {"failures": failures}
    if not isinstance(error, UpstreamError) or error.kind != "not_found":
        values = {"failures": min(failures, max(MAX_ATTEMPTS, claimed.row.failures))}
    elif failures > MAX_ATTEMPTS + LOST_AFTER:
        values, seconds = {"upstream_status": LOST_STATUS}, 0.0
    log.warning("settle.deferred", job=claimed.row.id, error=str(error), failures=failures)
    async with ctx.db.worker() as session:
        await leases.give_back(session, claimed, values, due_in_seconds=seconds)


async def _end(
    ctx: AccountContext,
    claimed: Claim[Job],
    target: EndState,
    updates: Updates,
    results: list[Result],
    warnings: list[JobWarning],
) -> None:
    job, upstream_job = claimed.row, updates.job
    charged = charge(job, target, upstream_job, billed=await _is_billed(ctx, job))
    tokens, cost = charged.trained_tokens, charged.micros
    async with ctx.db.worker() as session:
        await settle_tokens(session, job_id=job.id, trained_tokens=tokens if target == "succeeded" else tokens or 0)
        doubts = [charged.unknown, overrun(job, charged, await billing.reserved_micros(session, job.id))]
        warnings = [*warnings, *(doubt for doubt in doubts if doubt is not None)]
        await billing.settle(
            session, subject=job.id, actual_micros=cost, quantity=tokens, gpu_seconds=charged.gpu_seconds
        )
        values = await sync.write_updates(ctx, session, claimed, updates)
        values["trained_tokens"] = tokens
        values["result_file_ids"] = [await _add_file(session, job, result) for result in results]
        now = dt.datetime.now(dt.UTC)
        values |= await final_figures(session, job, upstream_job, updates.events, tokens=tokens, now=now)
        values |= await verdicts.write_final(session, job)
        if target == "succeeded":
            fine_tuned_model = await _name_model(ctx, session, job, upstream_job.fine_tuned_model or "")
        if warnings:
            events = [NewEvent(message=warning.message, level="warn") for warning in warnings]
            await add_events(session, job.id, job.project_id, events)
            values["warnings"] = with_warnings(warnings)
        deploy_events: list[NewEvent] = []
        match target:
            case "succeeded":
                deploy_events, deploy_values = await _begin_deployment(ctx, session, job, fine_tuned_model)
                transition = Transition.succeeded(
                    fine_tuned_model=fine_tuned_model, cost_micros=cost, values={**values, **deploy_values}
                )
            case "cancelled":
                reason = reason_of_cancel(job, charged)
                transition = Transition.cancelled(cost_micros=cost, reason=reason, values=values)
            case "failed":
                transition = Transition.failed(_error_of(upstream_job), cost_micros=cost, values=values)
            case _:
                assert_never(target)
        await apply_transition(session, claimed, transition)
        await add_events(session, job.id, job.project_id, deploy_events)
        if target == "succeeded" and tokens is not None and job.expected_micros and job.price_micros_per_million:
            estimated = job.expected_micros * TOKENS_PER_PRICE // job.price_micros_per_million
            base = await sync.base_name(ctx, session, job)
            await billing.calibrate(session, model=base, estimated_tokens=estimated, actual_tokens=tokens)
        if target == "succeeded":
            await add_speed(ctx, session, job, charged)
    count(ctx, charged)
    fault_points.point("settle.ended")


def _error_of(upstream_job: UpstreamJob) -> JobError:
    return JobError(
        upstream_job.error_code or "upstream_failed",
        upstream_job.error_message
        or f"The upstream ended the job as {upstream_job.status} without a model or a reason.",
        upstream_job.error_param,
    )


async def _begin_deployment(
    ctx: AccountContext, session: AsyncSession, job: Job, fine_tuned_model: str
) -> tuple[list[NewEvent], dict[str, Any]]:
    """Carry out the job's `deploy`: point the alias at the model, or have it compared first.

    Returns the events that follow the job's last transition, and the columns that change with it.
    """
    alias = job.deploy_alias
    if alias is None:
        return [], {}
    if job.deploy_comparison is not None:
        session.add(Deployment(id=job.id, project_id=job.project_id, due_at=func.now()))
        wake(session, DEPLOYMENTS, job.id, "begun")
        event = NewEvent(message=f"The model is compared before it can be deployed to the alias {alias}")
        return [event], {"deploy_status": "comparing"}
    refusal = await deploy(
        session,
        project_id=job.project_id,
        name=alias,
        model=fine_tuned_model,
        job_id=job.id,
        catalogue=ctx.catalogue,
    )
    fault_points.point("settle.deployed")
    if refusal is not None:
        event = NewEvent(message=f"The model was not deployed to the alias {alias}: {refusal}", level="warn")
        return [event], {"deploy_status": "refused", "deploy_detail": refusal}
    event = NewEvent(message=f"The alias {alias} points at the model now")
    return [event], {"deploy_status": "deployed", "deploy_detail": None}


async def _end_lost(ctx: AccountContext, claimed: Claim[Job]) -> None:
    error = JobError("upstream_job_lost", "The upstream no longer knows this job; nothing was charged for it.")
    async with ctx.db.worker() as session:
        await release_reservations(session, claimed.row)
        await apply_transition(session, claimed, Transition.failed(error))


async def _is_billed(ctx: AccountContext, job: Job) -> bool:
    async with ctx.db.worker() as session:
        billed = await session.scalar(select(UpstreamAccount.billed).where(UpstreamAccount.id == job.account_id))
    return billed is not False


async def _results(ctx: AccountContext, claimed: Claim[Job], updates: Updates) -> tuple[list[Result], list[JobWarning]]:
    results, warnings = [], []
    for upstream_id in updates.job.result_files:
        try:
            async with claimed.call(ctx.settings.control_timeout_seconds):
                content = await ctx.upstream.file_content(upstream_id, MAX_RESULT_BYTES)
        except (UpstreamError, TimeoutError) as error:
            if claimed.row.failures < MAX_ATTEMPTS:
                raise
            message = f"A result file could not be read from the upstream ({error})"
            warnings.append(JobWarning(code=RESULT_FILE_LOST, message=message))
            continue
        results.append(await _store(ctx, claimed.row, content))
    return results, warnings


async def _store(ctx: AccountContext, job: Job, content: bytes) -> Result:
    key = f"{job.project_id}/{new_id('object-')}"
    async with ctx.db.worker() as session:
        await record_pending_upload(session, job.project_id, key)
    fault_points.point("settle.announced")

    async def chunks() -> AsyncIterator[bytes]:
        yield content

    return Result(key, await ctx.storage.put(key, chunks()), _steps(content))


async def _add_file(session: AsyncSession, job: Job, result: Result) -> str:
    file_id = new_id("file-")
    pending = await session.get(PendingUpload, result.storage_key)
    if pending is not None:
        await session.delete(pending)
    session.add(
        File(
            id=file_id,
            project_id=job.project_id,
            filename="step_metrics.csv",
            purpose="fine-tune-results",
            size_bytes=result.stored.size_bytes,
            sha256=result.stored.sha256,
            storage_key=result.storage_key,
            status="processed",
        )
    )
    for step in result.steps:
        await sync.write_metrics(session, job, step)
    await session.flush()
    return file_id


def _steps(content: bytes) -> list[dict[str, float | int]]:
    """The metrics in a result file: a CSV in base64 at OpenAI, a plain CSV elsewhere. Leaves out what is no number."""
    try:
        plain = base64.b64decode(content, validate=True)
    except binascii.Error:
        plain = content
    steps: list[dict[str, float | int]] = []
    for row in _rows(plain):
        number = (row.get("step") or "").strip()
        if not number.isdecimal() or len(number) > 12:
            continue
        metrics: dict[str, float | int] = {"step": int(number)}
        for column, name in CSV_COLUMNS.items():
            try:
                metrics[name] = float(row.get(column) or "")
            except (ValueError, TypeError):
                continue
        steps.append(metrics)
    return steps


def _rows(plain: bytes) -> Iterator[dict[str, str]]:
    try:
        yield from csv.DictReader(io.StringIO(plain.decode("utf-8", "replace")))
    except csv.Error as error:
        log.warning("settle.result_file_truncated", error=str(error))


async def _name_model(ctx: AccountContext, session: AsyncSession, job: Job, upstream_name: str) -> str:
    name = sync.our_name(ctx, job)
    await sync.add_model(ctx, session, job, name=name, upstream_name=upstream_name, kind="model")
    return name
