"""`creating` → `running`: exactly one upstream job for a job, whatever happens on the way.

1. The intent to send is committed before sending.
2. The request carries our three marks in its metadata, and ends before the lease does.
3. An id that comes back is remembered in `upstream_calls` whatever else happens, then recorded under the fence.
   A refusal in the upstream's words, or a connection that never opened, made nothing. Everything else is unknown.
4. Unknown, or an intent found after a crash: look for our marks. What is found is adopted, the rest of it is cancelled
   by the sweep for strays. Nothing found: send again only after the settle time and three empty lists.
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
from service.jobs.lifecycle import JobError
from service.jobs.record import Move, move
from service.jobs.rules import with_epochs
from service.upstreams.labels import GATEWAY, JOB, attempt_of, labels
from service.upstreams.poll_schedule import NEW_JOB_SNAPSHOT
from service.upstreams.port import Created, JobRequest, NotSent, Refused, Unknown, UpstreamError, UpstreamJob
from workers.context import AccountContext
from workers.jobs import cool_down
from workers.jobs.schedule import cancel, fail
from workers.jobs.upload import forget_vanished, sent_files

log = structlog.get_logger()

ATTEMPTS = Counter("tunegate_upstream_creates_total", "Creates sent upstream, by outcome.", ["outcome"])

EMPTY_LISTS = 3
RETRY_SECONDS = 5.0
MAX_UPLOADS = 3
"""How often a job's files may be sent because they vanish."""

MAX_NEVER_MADE = 1000
"""How many attempts in a row may come to nothing before the job fails: about a day of settle times."""


async def create(ctx: AccountContext, claimed: Claim[Job]) -> None:
    """Send the job, or find out what became of sending it."""
    async with leases.heartbeat(ctx.db, claimed):
        if claimed.row.create_phase == "intent":
            await _find_out(ctx, claimed)
        elif claimed.row.cancel_requested_at is not None:
            async with ctx.db.worker() as session:
                await cancel(session, claimed, "Cancelled before it was sent; nothing was created upstream.")
        else:
            await _send(ctx, claimed)


async def _send(ctx: AccountContext, claimed: Claim[Job]) -> None:
    job = claimed.row
    order = await _order(ctx, job)
    if order is None:
        async with ctx.db.worker() as session:
            await move(session, claimed, Move(to="uploading", message="Sending the files to the upstream again"))
        return
    attempt = job.create_attempt + 1
    async with ctx.db.worker() as session:
        settle = ctx.settings.lease_seconds + ctx.settings.settle_seconds
        await leases.write(
            session,
            claimed,
            {
                "create_phase": "intent",
                "create_attempt": attempt,
                "create_settled_at": func.now() + dt.timedelta(seconds=settle),
                "create_empty_lists": 0,
            },
        )
    fault_points.point("create.intent_committed")
    outcome: Created | Refused | NotSent | Unknown
    try:
        async with claimed.call(ctx.settings.control_timeout_seconds):
            outcome = await ctx.upstream.create_job(order)
    except TimeoutError:
        outcome = Unknown("time-out")
    fault_points.point("create.answered")
    ATTEMPTS.labels(type(outcome).__name__.lower()).inc()
    match outcome:
        case Created(id=upstream_id):
            await asyncio.shield(_remember(ctx, job, [(upstream_id, attempt)]))
            fault_points.point("create.remembered")
            await _record(ctx, claimed, upstream_id)
        case Refused(kind="invalid" | "not_found") as refused:
            await _refused(ctx, claimed, refused)
        case Refused() as refused:
            hold = await cool_down.after_refusal(ctx, refused)
            await _later(ctx, claimed, "idle", hold.reason, hold.seconds)
        case NotSent(reason=reason):
            await _later(ctx, claimed, "idle", f"The upstream cannot be reached: {reason}", RETRY_SECONDS)
        case Unknown(reason=reason):
            log.warning("create.unknown", job=job.id, attempt=attempt, reason=reason)
            await _later(ctx, claimed, "intent", f"The upstream gave no clear answer: {reason}", 0.0)


async def _refused(ctx: AccountContext, claimed: Claim[Job], refused: Refused) -> None:
    """A refusal of the job ends it, unless it is about a file that has vanished upstream: that is sent anew."""
    try:
        vanished = await forget_vanished(ctx, claimed)
    except (UpstreamError, TimeoutError) as away:
        await _later(ctx, claimed, "idle", f"Finding out why the upstream refuses the job: {away}", RETRY_SECONDS)
        return
    async with ctx.db.worker() as session:
        await leases.write(session, claimed, {"create_phase": "idle"})
        uploads = await session.scalar(
            select(func.count()).where(JobState.job_id == claimed.row.id, JobState.state == "uploading")
        )
        if vanished and (uploads or 0) < MAX_UPLOADS:
            await move(session, claimed, Move(to="uploading", message="The upstream has lost a file; sending it again"))
            return
        error = JobError(refused.code, f"The upstream refuses the job: {refused.message}", refused.param)
        await fail(session, claimed, error)


async def _find_out(ctx: AccountContext, claimed: Claim[Job]) -> None:
    job = claimed.row
    try:
        async with claimed.call(ctx.settings.control_timeout_seconds):
            found = await ctx.upstream.find_jobs(
                {GATEWAY: ctx.instance, JOB: job.id}, training_file=await _training_file(ctx, job)
            )
    except (UpstreamError, TimeoutError) as error:
        await _later(ctx, claimed, "intent", f"Finding out what the upstream made of it: {error}", RETRY_SECONDS)
        return
    fault_points.point("create.looked")
    if found:
        await _remember(ctx, job, [(each.id, attempt_of(each.metadata)) for each in found])
        fault_points.point("create.found")
        adopted = _first_alive(found)
        log.warning("create.adopted", job=job.id, upstream_job=adopted.id, found=len(found))
        await _record(ctx, claimed, adopted.id)
        return
    async with ctx.db.worker() as session:
        settled = await session.scalar(select(Job.create_settled_at <= func.now()).where(Job.id == job.id))
        empty_lists = job.create_empty_lists + 1
        if settled and empty_lists >= EMPTY_LISTS:
            log.info("create.never_made", job=job.id, attempt=job.create_attempt)
            await _never_made(session, claimed)
        else:
            await leases.give_back(
                session,
                claimed,
                {
                    "create_empty_lists": empty_lists,
                    "waiting_reason": "Finding out whether the upstream has made the job.",
                },
                due_in_seconds=min(RETRY_SECONDS, max(0.2, ctx.settings.settle_seconds / 4)),
            )
    fault_points.point("create.found_nothing")


async def _never_made(session: AsyncSession, claimed: Claim[Job]) -> None:
    failures = claimed.row.failures + 1
    values = {"create_phase": "idle", "create_empty_lists": 0, "failures": failures}
    if failures < MAX_NEVER_MADE:
        await leases.give_back(session, claimed, values, due_in_seconds=0.0)
        return
    await leases.write(session, claimed, values)
    await fail(session, claimed, JobError("upstream_unavailable", "The upstream never gave a clear answer."))


async def _order(ctx: AccountContext, job: Job) -> JobRequest | None:
    """What to send, or None when a file of the job is not upstream any more."""
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
    )


async def _training_file(ctx: AccountContext, job: Job) -> str | None:
    async with ctx.db.worker() as session:
        sent = await sent_files(session, ctx, job)
    return sent[job.training_file_id].upstream_file_id if job.training_file_id in sent else None


async def _remember(ctx: AccountContext, job: Job, made: list[tuple[str, int]]) -> None:
    async with ctx.db.worker() as session:
        for upstream_id, attempt in made:
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


async def _record(ctx: AccountContext, claimed: Claim[Job], upstream_id: str) -> None:
    async with ctx.db.worker() as session:
        await move(
            session,
            claimed,
            Move(
                to="running",
                message="Created the job at the upstream",
                values={
                    "create_phase": "created",
                    "upstream_job_id": upstream_id,
                    "upstream_status": "queued",
                    "upstream_snapshot": NEW_JOB_SNAPSHOT,
                },
            ),
        )
    fault_points.point("create.recorded")


async def _later(ctx: AccountContext, claimed: Claim[Job], phase: str, reason: str, seconds: float) -> None:
    async with ctx.db.worker() as session:
        await leases.give_back(
            session, claimed, {"create_phase": phase, "waiting_reason": reason}, due_in_seconds=seconds
        )
    fault_points.point("create.given_back")


def _first_alive(found: list[UpstreamJob]) -> UpstreamJob:
    alive = [job for job in found if job.status not in ("failed", "cancelled")]
    return min(alive or found, key=lambda job: (job.created_at, attempt_of(job.metadata), job.id))
