"""`creating` → `running`: exactly one upstream job for each job, whatever fails on the way.

1. The intent to send is committed before the create request is sent.
2. The request carries our three labels in its metadata, and ends before the lease does.
3. An id that comes back is recorded in `upstream_calls` in any case, then in the job's row under the lease's fence.
   A refusal with the upstream's error object, or a connection that was never opened, has created nothing. Every other
   outcome is unknown.
4. After an unknown outcome, or an intent left by a crash, the upstream is searched for our labels. A job that is found
   is adopted; further ones are cancelled as orphaned upstream jobs. If none is found, the request is sent again only
   after the settle time and three empty lists.
"""

import asyncio
import datetime as dt

import structlog
from prometheus_client import Counter
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.database import leases
from service.database.leases import Claim
from service.database.tables import Job, JobState, UpstreamCall
from service.ids import new_id
from service.jobs.adapter_settings import sent_adapter
from service.jobs.lifecycle import JobError
from service.jobs.record import apply_transition
from service.jobs.rules import with_epochs
from service.jobs.transitions import Transition
from service.states import CreatePhase
from service.upstreams.labels import GATEWAY, JOB, attempt_of, labels
from service.upstreams.port import Created, JobRequest, NotSent, Refused, Unknown, UpstreamError, UpstreamJob
from workers.context import AccountContext
from workers.jobs import cool_down
from workers.jobs.end_unbilled import cancel_unbilled, fail_unbilled
from workers.jobs.upload import forget_vanished, sent_files

log = structlog.get_logger()

ATTEMPTS = Counter("tunegate_upstream_creates_total", "Create requests sent upstream, by outcome.", ["outcome"])

EMPTY_LISTS = 3
"""Searches in a row, after the settle time, that must find nothing before a create is sent again."""

RETRY_SECONDS = 5.0
MAX_UPLOADS = 3
"""How often a job's files may be sent, because they vanish upstream, before the job fails."""

MAX_FRUITLESS_CREATES = 1000
"""Creates in a row that may create nothing before the job fails: about a day of settle times."""


async def create(ctx: AccountContext, claimed: Claim[Job]) -> None:
    """Send the create request, or search for the job of an earlier request whose outcome is unknown."""
    async with leases.heartbeat(ctx.db, claimed):
        if claimed.row.create_phase == "intent":
            await _search(ctx, claimed)
        elif claimed.row.cancel_requested_at is not None:
            async with ctx.db.worker() as session:
                await cancel_unbilled(session, claimed, "Cancelled before it was sent; nothing was created upstream.")
        else:
            await _send(ctx, claimed)


async def _send(ctx: AccountContext, claimed: Claim[Job]) -> None:
    job = claimed.row
    request = await _request(ctx, job)
    if request is None:
        async with ctx.db.worker() as session:
            transition = Transition.back_to_uploading("Sending the files to the upstream again")
            await apply_transition(session, claimed, transition)
        return
    attempt = job.create_attempt + 1
    async with ctx.db.worker() as session:
        settled_in_seconds = ctx.settings.lease_seconds + ctx.settings.settle_seconds
        await leases.write(
            session,
            claimed,
            {
                "create_phase": "intent",
                "create_attempt": attempt,
                "create_settled_at": func.now() + dt.timedelta(seconds=settled_in_seconds),
                "create_empty_lists": 0,
            },
        )
    fault_points.point("create.intent_committed")
    outcome: Created | Refused | NotSent | Unknown
    try:
        async with claimed.call(ctx.settings.control_timeout_seconds):
            outcome = await ctx.upstream.create_job(request)
    except TimeoutError:
        outcome = Unknown("time-out")
    fault_points.point("create.answered")
    ATTEMPTS.labels(type(outcome).__name__.lower()).inc()
    match outcome:
        case Created(id=upstream_id):
            await asyncio.shield(_record_call(ctx, job, [(upstream_id, attempt)]))
            fault_points.point("create.remembered")
            await _run(ctx, claimed, upstream_id)
        case Refused(kind="invalid" | "not_found") as refused:
            await _refused(ctx, claimed, refused)
        case Refused() as refused:
            pause = await cool_down.after_refusal(ctx, refused)
            await _give_back(ctx, claimed, "idle", pause.reason, pause.seconds)
        case NotSent(reason=reason):
            await _give_back(ctx, claimed, "idle", f"The upstream cannot be reached: {reason}", RETRY_SECONDS)
        case Unknown(reason=reason):
            log.warning("create.unknown", job=job.id, attempt=attempt, reason=reason)
            await _give_back(ctx, claimed, "intent", f"The upstream gave no clear answer: {reason}", 0.0)


async def _refused(ctx: AccountContext, claimed: Claim[Job], refused: Refused) -> None:
    """Fail the job, unless it was refused for a file that has vanished upstream: that file is sent again."""
    try:
        vanished = await forget_vanished(ctx, claimed)
    except (UpstreamError, TimeoutError) as error:
        await _give_back(ctx, claimed, "idle", f"Finding out why the upstream refuses the job: {error}", RETRY_SECONDS)
        return
    async with ctx.db.worker() as session:
        await leases.write(session, claimed, {"create_phase": "idle"})
        uploads = await session.scalar(
            select(func.count()).where(JobState.job_id == claimed.row.id, JobState.state == "uploading")
        )
        if vanished and (uploads or 0) < MAX_UPLOADS:
            transition = Transition.back_to_uploading("The upstream has lost a file; sending it again")
            await apply_transition(session, claimed, transition)
            return
        reason = JobError(refused.code, f"The upstream refuses the job: {refused.message}", refused.param)
        await fail_unbilled(session, claimed, reason)


async def _search(ctx: AccountContext, claimed: Claim[Job]) -> None:
    job = claimed.row
    try:
        async with claimed.call(ctx.settings.control_timeout_seconds):
            found = await ctx.upstream.find_jobs(
                {GATEWAY: ctx.instance, JOB: job.id}, training_file=await _training_file(ctx, job)
            )
    except (UpstreamError, TimeoutError) as error:
        await _give_back(
            ctx, claimed, "intent", f"Finding out whether the upstream has created the job: {error}", RETRY_SECONDS
        )
        return
    fault_points.point("create.searched")
    if found:
        await _record_call(ctx, job, [(each.id, attempt_of(each.metadata)) for each in found])
        fault_points.point("create.found")
        adopted = _oldest_alive(found)
        log.warning("create.adopted", job=job.id, upstream_job=adopted.id, found=len(found))
        await _run(ctx, claimed, adopted.id)
        return
    async with ctx.db.worker() as session:
        settled = await session.scalar(select(Job.create_settled_at <= func.now()).where(Job.id == job.id))
        empty_lists = job.create_empty_lists + 1
        if settled and empty_lists >= EMPTY_LISTS:
            log.info("create.not_created", job=job.id, attempt=job.create_attempt)
            await _not_created(session, claimed)
        else:
            await leases.give_back(
                session,
                claimed,
                {
                    "create_empty_lists": empty_lists,
                    "waiting_reason": "Finding out whether the upstream has created the job.",
                },
                due_in_seconds=min(RETRY_SECONDS, max(0.2, ctx.settings.settle_seconds / 4)),
            )
    fault_points.point("create.found_nothing")


async def _not_created(session: AsyncSession, claimed: Claim[Job]) -> None:
    failures = claimed.row.failures + 1
    values = {"create_phase": "idle", "create_empty_lists": 0, "failures": failures}
    if failures < MAX_FRUITLESS_CREATES:
        await leases.give_back(session, claimed, values, due_in_seconds=0.0)
        return
    await leases.write(session, claimed, values)
    await fail_unbilled(session, claimed, JobError("upstream_unavailable", "The upstream never gave a clear answer."))


async def _request(ctx: AccountContext, job: Job) -> JobRequest | None:
    """The create request, or None when a file of the job is no longer upstream."""
    async with ctx.db.worker() as session:
        rows = await sent_files(session, ctx, job)
    sent = {file_id: row.upstream_file_id for file_id, row in rows.items() if row.upstream_file_id is not None}
    if not {job.training_file_id, job.validation_file_id} - {None} <= sent.keys():
        return None
    model = job.upstream_model or job.model
    base = ctx.catalogue.find(model) if ctx.upstream.capabilities.full_names else None
    return JobRequest(
        model=base.name if base is not None else model,
        training_file=sent[job.training_file_id],
        validation_file=sent[job.validation_file_id] if job.validation_file_id else None,
        suffix=job.suffix,
        seed=job.seed,
        method=with_epochs(job.method, job.n_epochs) if job.n_epochs is not None else job.method,
        integrations=job.integrations,
        metadata=labels(ctx.instance, job.id, job.create_attempt + 1),
        adapter=None if job.adapter is None else sent_adapter(job.adapter),
    )


async def _training_file(ctx: AccountContext, job: Job) -> str | None:
    async with ctx.db.worker() as session:
        sent = await sent_files(session, ctx, job)
    return sent[job.training_file_id].upstream_file_id if job.training_file_id in sent else None


async def _record_call(ctx: AccountContext, job: Job, created: list[tuple[str, int]]) -> None:
    async with ctx.db.worker() as session:
        for upstream_id, attempt in created:
            await session.execute(
                insert(UpstreamCall)
                .values(
                    id=new_id("call-"),
                    project_id=job.project_id,
                    job_id=job.id,
                    account_id=ctx.upstream.account_id,
                    attempt=attempt,
                    upstream_job_id=upstream_id,
                )
                .on_conflict_do_nothing(index_elements=["job_id", "upstream_job_id"])
            )


async def _run(ctx: AccountContext, claimed: Claim[Job], upstream_id: str) -> None:
    async with ctx.db.worker() as session:
        await apply_transition(session, claimed, Transition.to_running(upstream_job_id=upstream_id))
    fault_points.point("create.recorded")


async def _give_back(ctx: AccountContext, claimed: Claim[Job], phase: CreatePhase, reason: str, seconds: float) -> None:
    async with ctx.db.worker() as session:
        await leases.give_back(
            session, claimed, {"create_phase": phase, "waiting_reason": reason}, due_in_seconds=seconds
        )
    fault_points.point("create.given_back")


def _oldest_alive(found: list[UpstreamJob]) -> UpstreamJob:
    alive = [job for job in found if job.status not in ("failed", "cancelled")]
    return min(alive or found, key=lambda job: (job.created_at, attempt_of(job.metadata), job.id))
