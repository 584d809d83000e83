"""`settling` → the end: results are read, the ledger is posted, the model gets its name, and everybody is told."""

import base64
import binascii
import csv
import io
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.billing import actions as billing
from service.billing.prices import TOKENS_PER_PRICE, cost_micros
from service.database import leases
from service.database.leases import Claim
from service.database.tables import File, Job, PendingUpload, UpstreamAccount
from service.datasets.files.actions import record_pending_upload
from service.ids import new_id
from service.jobs.lifecycle import JobError, upstream_end
from service.jobs.record import Move, NewEvent, add_events, move
from service.limits.enforcement import settle_tokens
from service.models.aliases.actions import deploy
from service.states import State
from service.storage import Stored
from service.upstreams.port import UpstreamError, UpstreamJob
from workers.context import AccountContext
from workers.jobs import sync as upstream_news
from workers.jobs.poll import LOST_AFTER, LOST_STATUS
from workers.jobs.sync import Updates

log = structlog.get_logger()

MAX_TRIES = 5
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
    """A result file that has been stored and is not a file yet."""

    storage_key: str
    stored: Stored
    steps: list[dict[str, float | int]]


async def settle(ctx: AccountContext, claimed: Claim[Job]) -> None:
    """Close the job's books. What cannot be read after five tries is left out, and an event says so."""
    job = claimed.row
    async with leases.heartbeat(ctx.db, claimed):
        if job.upstream_status == LOST_STATUS:
            await _end_lost(ctx, claimed)
            return
        try:
            patient = job.failures < MAX_TRIES
            news = await upstream_news.fetch_updates(ctx, claimed, complete=patient)
            target = _ended(news.job, patient=patient)
            results, warnings = await _results(ctx, claimed, news)
        except (UpstreamError, TimeoutError) as error:
            await _again(ctx, claimed, error)
            return
        fault_points.point("settle.results_stored")
        await _end(ctx, claimed, target, news, results, warnings)


def _ended(told: UpstreamJob, *, patient: bool) -> State:
    """How the job ended. Raises `UpstreamError` for one that runs again, as a replica of the upstream may say."""
    target = upstream_end(told.status)
    if target is None:
        raise UpstreamError("away", f"The upstream says {told.status} of a job that had ended.")
    if target == "succeeded" and None in (told.trained_tokens, told.fine_tuned_model) and patient:
        raise UpstreamError("away", "The upstream has not said yet what the job came to.")
    return "failed" if target == "succeeded" and told.fine_tuned_model is None else target


async def _again(ctx: AccountContext, claimed: Claim[Job], error: UpstreamError | TimeoutError) -> None:
    """Try again later. Only what the upstream says counts towards giving a job up as lost, not that it is away."""
    failures, seconds = claimed.row.failures + 1, RETRY_SECONDS * min(claimed.row.failures + 1, 10)
    values: dict[str, object] = {"failures": failures}
    if not isinstance(error, UpstreamError) or error.kind != "not_found":
        values = {"failures": min(failures, max(MAX_TRIES, claimed.row.failures))}
    elif failures > MAX_TRIES + LOST_AFTER:
        values, seconds = {"upstream_status": LOST_STATUS}, 0.0
    log.warning("settle.later", job=claimed.row.id, error=str(error), failures=failures)
    async with ctx.db.worker() as session:
        await leases.give_back(session, claimed, values, due_in_seconds=seconds)


async def _end(
    ctx: AccountContext, claimed: Claim[Job], target: State, news: Updates, results: list[Result], warnings: list[str]
) -> None:
    job, told = claimed.row, news.job
    tokens = told.trained_tokens
    cost = _cost(job, target, tokens) if await _billed(ctx, job) else 0
    if target == "succeeded" and tokens is None:
        warnings = [*warnings, "The upstream gave no trained tokens; the expected price was posted"]
    async with ctx.db.worker() as session:
        await settle_tokens(session, job_id=job.id, trained_tokens=tokens if target == "succeeded" else tokens or 0)
        await billing.settle(session, subject=job.id, actual_micros=cost, quantity=tokens)
        values = await upstream_news.write_updates(ctx, session, claimed, news)
        values.update(trained_tokens=tokens, cost_micros=cost)
        values["result_file_ids"] = [await _keep(session, job, result) for result in results]
        error = None
        match target:
            case "succeeded":
                values["fine_tuned_model"] = await _name_model(ctx, session, job, told.fine_tuned_model or "")
                message = f"The model is ready: {values['fine_tuned_model']} (cost: ${cost / 1e6:.2f})"
            case "cancelled":
                message = "The job was cancelled"
            case _:
                error = JobError(
                    told.error_code or "upstream_failed",
                    told.error_message or f"The upstream ended the job as {told.status} without a model or a reason.",
                    told.error_param,
                )
                message = f"The job failed: {error.message}"
        if warnings:
            events = [NewEvent(message=warning, level="warn") for warning in warnings]
            await add_events(session, job.id, job.project_id, events)
        told_after = []
        if target == "succeeded" and job.deploy_alias is not None and job.deploy_comparison is not None:
            values["deploy_status"] = "comparing"
            told_after = [NewEvent(message=f"The model is compared before the alias {job.deploy_alias} may take it")]
        elif target == "succeeded" and job.deploy_alias is not None:
            told_after = [await _deploy(ctx, session, job, job.deploy_alias, values)]
            fault_points.point("settle.deployed")
        await move(session, claimed, Move(to=target, message=message, error=error, values=values, due_in_seconds=None))
        await add_events(session, job.id, job.project_id, told_after)
        if target == "succeeded" and tokens is not None and job.expected_micros and job.price_micros_per_million:
            estimated = job.expected_micros * TOKENS_PER_PRICE // job.price_micros_per_million
            base = await upstream_news.base_name(ctx, session, job)
            await billing.calibrate(session, model=base, estimated_tokens=estimated, actual_tokens=tokens)
    fault_points.point("settle.ended")


async def _deploy(ctx: AccountContext, session: AsyncSession, job: Job, alias: str, values: dict[str, Any]) -> NewEvent:
    """Point the alias that the job was created with at its model; what came of it goes with the job's last move."""
    problem = await deploy(
        session,
        project_id=job.project_id,
        name=alias,
        model=values["fine_tuned_model"],
        job_id=job.id,
        catalogue=ctx.catalogue,
    )
    values.update(deploy_status="deployed" if problem is None else "refused", deploy_detail=problem)
    if problem is not None:
        return NewEvent(message=f"The model was not deployed to the alias {alias}: {problem}", level="warn")
    return NewEvent(message=f"The alias {alias} points at the model now")


async def _end_lost(ctx: AccountContext, claimed: Claim[Job]) -> None:
    error = JobError("upstream_job_lost", "The upstream no longer knows this job; nothing was charged for it.")
    async with ctx.db.worker() as session:
        await settle_tokens(session, job_id=claimed.row.id, trained_tokens=0)
        await billing.settle(session, subject=claimed.row.id, actual_micros=0, quantity=0)
        await move(
            session,
            claimed,
            Move(
                to="failed",
                message=f"The job failed: {error.message}",
                error=error,
                values={"cost_micros": 0},
                due_in_seconds=None,
            ),
        )


async def _billed(ctx: AccountContext, job: Job) -> bool:
    async with ctx.db.worker() as session:
        billed = await session.scalar(select(UpstreamAccount.billed).where(UpstreamAccount.id == job.account_id))
    return billed is not False


def _cost(job: Job, target: State, tokens: int | None) -> int:
    if tokens is not None:
        return cost_micros(tokens, job.price_micros_per_million or 0)
    return (job.expected_micros or 0) if target == "succeeded" else 0


async def _results(ctx: AccountContext, claimed: Claim[Job], news: Updates) -> tuple[list[Result], list[str]]:
    results, warnings = [], []
    for upstream_id in news.job.result_files:
        try:
            async with claimed.call(ctx.settings.control_timeout_seconds):
                content = await ctx.upstream.file_content(upstream_id, MAX_RESULT_BYTES)
        except (UpstreamError, TimeoutError) as error:
            if claimed.row.failures < MAX_TRIES:
                raise
            warnings.append(f"A result file could not be read from the upstream ({error})")
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


async def _keep(session: AsyncSession, job: Job, result: Result) -> str:
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
        await upstream_news.write_metrics(session, job, step)
    await session.flush()
    return file_id


def _steps(content: bytes) -> list[dict[str, float | int]]:
    """The rows of a result file: base64 of a CSV at OpenAI, plain CSV elsewhere; what is no figure is left out."""
    try:
        plain = base64.b64decode(content, validate=True)
    except binascii.Error:
        plain = content
    steps: list[dict[str, float | int]] = []
    for row in _rows(plain):
        number = (row.get("step") or "").strip()
        if not number.isdecimal() or len(number) > 12:
            continue
        figures: dict[str, float | int] = {"step": int(number)}
        for column, name in CSV_COLUMNS.items():
            try:
                figures[name] = float(row.get(column) or "")
            except (ValueError, TypeError):
                continue
        steps.append(figures)
    return steps


def _rows(plain: bytes) -> Iterator[dict[str, str]]:
    try:
        yield from csv.DictReader(io.StringIO(plain.decode("utf-8", "replace")))
    except csv.Error as error:
        log.warning("settle.results_end_early", error=str(error))


async def _name_model(ctx: AccountContext, session: AsyncSession, job: Job, upstream_name: str) -> str:
    name = upstream_news.our_name(ctx, job)
    await upstream_news.add_model(ctx, session, job, name=name, upstream_name=upstream_name, kind="model")
    return name
