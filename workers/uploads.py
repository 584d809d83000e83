"""`uploading` → `creating`: each dataset is sent upstream once per account, project and content.

The upload has a leased row of its own, so that jobs sharing a file do not send it twice. An upload whose answer was
lost is looked for by its name, `tunegate-<sha256>.jsonl`, before it is sent again.
"""

from dataclasses import dataclass

import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from service import claims, faults
from service.claims import Claim
from service.ids import new_id
from service.jobs.lifecycle import JobError
from service.jobs.record import Move, NewEvent, add_events, move
from service.tables import File, Job, UpstreamFile
from service.upstream.port import Created, NotSent, Refused, Unknown, UpstreamError
from workers import holds
from workers.admissions import cancel, fail
from workers.context import Context

log = structlog.get_logger()

ANOTHER_SENDS_SECONDS = 1.0
RETRY_SECONDS = 5.0
MAX_UNKNOWN = 1000
"""How often an upload may end unclear before its job fails: the pauses grow to 100 seconds, so it is about a day."""


@dataclass(frozen=True, slots=True)
class Later:
    """The file is not upstream yet; why, and when to look again."""

    reason: str
    seconds: float


async def upload(ctx: Context, claimed: Claim[Job]) -> None:
    """Bring both datasets upstream, one after the other."""
    job = claimed.row
    if job.cancel_requested_at is not None:
        async with ctx.db.worker() as session:
            await cancel(session, claimed, "Cancelled before it was sent.")
        return
    async with claims.heartbeat(ctx.db, claimed):
        for file_id in (job.training_file_id, job.validation_file_id):
            if file_id is None:
                continue
            outcome = await _bring(ctx, job, file_id)
            if outcome is None:
                continue
            async with ctx.db.worker() as session:
                if isinstance(outcome, JobError):
                    await fail(session, claimed, outcome)
                else:
                    await claims.give_back(
                        session, claimed, {"waiting_reason": outcome.reason}, due_in_seconds=outcome.seconds
                    )
            return
        async with ctx.db.worker() as session:
            await move(session, claimed, Move(to="creating", message="Files sent to the upstream"))


async def _bring(ctx: Context, job: Job, file_id: str) -> Later | JobError | None:
    async with ctx.db.worker() as session:
        file = await session.get_one(File, file_id)
        same = (
            (UpstreamFile.account_id == ctx.upstream.account_id)
            & (UpstreamFile.project_id == job.project_id)
            & (UpstreamFile.sha256 == file.sha256)
        )
        await session.execute(
            insert(UpstreamFile)
            .values(
                id=new_id("upfile-"),
                account_id=ctx.upstream.account_id,
                project_id=job.project_id,
                sha256=file.sha256,
                due_at=func.now(),
            )
            .on_conflict_do_nothing(index_elements=["account_id", "project_id", "sha256"])
        )
        row = (await session.scalars(select(UpstreamFile).where(same))).one()
        if row.phase == "uploaded":
            return None
        mine = await claims.claim(session, UpstreamFile, lease_seconds=ctx.settings.lease_seconds, where=[same])
    if not mine:
        return Later("The file is being sent for another job.", ANOTHER_SENDS_SECONDS)
    async with claims.heartbeat(ctx.db, mine[0]):
        return await _send(ctx, mine[0], job, file)


async def _send(ctx: Context, claimed: Claim[UpstreamFile], job: Job, file: File) -> Later | JobError | None:
    name = f"tunegate-{file.sha256}.jsonl"
    if claimed.row.phase == "intent":
        try:
            async with claimed.call(ctx.settings.control_timeout_seconds):
                found = await ctx.upstream.find_file(name, file.size_bytes)
        except (UpstreamError, TimeoutError) as error:
            return await _not_now(ctx, claimed, "intent", f"The upstream does not answer: {error}", RETRY_SECONDS)
        if found is not None:
            await _sent(ctx, claimed, job, file, found)
            return None
    async with ctx.db.worker() as session:
        await claims.write(session, claimed, {"phase": "intent"})
    faults.point("upload.intent_committed")
    outcome = await ctx.upstream.upload_file(name, file.size_bytes, ctx.storage.read(file.storage_key))
    faults.point("upload.answered")
    match outcome:
        case Created(id=upstream_id):
            await _sent(ctx, claimed, job, file, upstream_id)
            return None
        case Refused(kind="invalid" | "not_found", message=message):
            await _not_now(ctx, claimed, "idle", message, 0.0)
            return JobError(
                "upstream_refused_file", f"The upstream refuses the file {file.filename}: {message}", "training_file"
            )
        case Refused() as refused:
            hold = await holds.after_refusal(ctx, refused)
            return await _not_now(ctx, claimed, "idle", hold.reason, hold.seconds)
        case NotSent(reason=reason):
            return await _not_now(ctx, claimed, "idle", f"The upstream cannot be reached: {reason}", RETRY_SECONDS)
        case Unknown(reason=reason):
            return await _unclear(ctx, claimed, reason)


async def _sent(ctx: Context, claimed: Claim[UpstreamFile], job: Job, file: File, upstream_id: str) -> None:
    async with ctx.db.worker() as session:
        await claims.give_back(
            session, claimed, {"phase": "uploaded", "upstream_file_id": upstream_id}, due_in_seconds=None
        )
        await add_events(session, job.id, job.project_id, [NewEvent(message=f"Sent {file.id} to the upstream")])


async def _unclear(ctx: Context, claimed: Claim[UpstreamFile], reason: str) -> Later | JobError:
    failures = claimed.row.failures + 1
    given_up = failures >= MAX_UNKNOWN
    async with ctx.db.worker() as session:
        await claims.write(session, claimed, {"failures": 0 if given_up else failures})
    told = f"The upstream gave no clear answer: {reason}"
    later = await _not_now(ctx, claimed, "intent", told, RETRY_SECONDS * min(failures, 20))
    return JobError("upstream_unavailable", told, "training_file") if given_up else later


async def _not_now(ctx: Context, claimed: Claim[UpstreamFile], phase: str, reason: str, seconds: float) -> Later:
    async with ctx.db.worker() as session:
        await claims.give_back(session, claimed, {"phase": phase}, due_in_seconds=0.0)
    log.info("upload.later", reason=reason, seconds=seconds)
    return Later(reason, seconds)
