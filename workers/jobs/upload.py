"""`uploading` → `creating`: each dataset is sent upstream once per account, project and content.

The upload has a leased row of its own, so that jobs which share a file do not send it twice. An upload whose response
was lost is searched for by its name, `tunegate-<sha256>-…`, before it is sent again. Where jobs are labelled by their
training file, each job has upstream files of its own. Some upstreams check a file before a job may use it; this step
waits for that, and sends a file again that the upstream no longer knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.database import leases
from service.database.leases import Claim
from service.database.tables import Deletion, File, Job, UpstreamFile
from service.ids import new_id
from service.jobs.lifecycle import JobError
from service.jobs.record import NewEvent, add_events, apply_transition
from service.jobs.transitions import Transition
from service.storage import StorageUnavailable
from service.upstreams.labels import upstream_file_name
from service.upstreams.port import Created, NotSent, Refused, Unknown, UpstreamError
from workers.context import AccountContext
from workers.datasets.retry_policy import STORE_UNAVAILABLE, STORE_UNAVAILABLE_SECONDS
from workers.jobs import cool_down
from workers.jobs.end_unbilled import cancel_unbilled, fail_unbilled

log = structlog.get_logger()

OTHER_UPLOAD_SECONDS = 1.0
FILE_CHECK_SECONDS = 5.0
RETRY_SECONDS = 5.0
MAX_UNKNOWN = 1000
"""Unknown outcomes in a row before the job fails: the pauses grow to 100 seconds, so it is about a day."""


@dataclass(frozen=True, slots=True)
class NotYet:
    """Why the file is not usable upstream yet, and in how many seconds to check again."""

    reason: str
    seconds: float


async def upload(ctx: AccountContext, claimed: Claim[Job]) -> None:
    """Send both datasets upstream, one after the other."""
    job = claimed.row
    if job.cancel_requested_at is not None:
        async with ctx.db.worker() as session:
            await cancel_unbilled(session, claimed, "Cancelled before it was sent.")
        return
    async with leases.heartbeat(ctx.db, claimed):
        for file_id in (job.training_file_id, job.validation_file_id):
            if file_id is None:
                continue
            outcome = await _ensure_upstream(ctx, claimed, file_id)
            if outcome is None:
                continue
            async with ctx.db.worker() as session:
                if isinstance(outcome, JobError):
                    await fail_unbilled(session, claimed, outcome)
                else:
                    await leases.give_back(
                        session, claimed, {"waiting_reason": outcome.reason}, due_in_seconds=outcome.seconds
                    )
            return
        async with ctx.db.worker() as session:
            await apply_transition(session, claimed, Transition.to_creating())
        fault_points.point("upload.moved")


async def sent_files(session: AsyncSession, ctx: AccountContext, job: Job) -> dict[str, UpstreamFile]:
    """The job's upstream files at its account, by the id of our file."""
    found: dict[str, UpstreamFile] = {}
    for file_id in {job.training_file_id, job.validation_file_id} - {None}:
        file = await session.get_one(File, file_id)
        row = (await session.scalars(select(UpstreamFile).where(_is_for(ctx, job, file)))).one_or_none()
        if row is not None:
            found[file.id] = row
    return found


async def forget_vanished(ctx: AccountContext, claimed: Claim[Job]) -> bool:
    """Reset those of the job's upstream files that no longer exist, so that they are sent again.

    Returns whether there are any. Raises `UpstreamError` and `TimeoutError` if a file's state cannot be fetched.
    """
    async with ctx.db.worker() as session:
        sent = await sent_files(session, ctx, claimed.row)
    vanished = False
    for row in sent.values():
        if row.upstream_file_id is None:
            vanished = True
            continue
        async with claimed.call(ctx.settings.control_timeout_seconds):
            state = await ctx.upstream.file_state(row.upstream_file_id)
        if state == "gone":
            vanished = True
            await _forget(ctx, row)
    return vanished


def _is_for(ctx: AccountContext, job: Job, file: File) -> ColumnElement[bool]:
    own = ctx.upstream.capabilities.labels_in == "training_file"
    return (
        (UpstreamFile.account_id == ctx.upstream.account_id)
        & (UpstreamFile.project_id == job.project_id)
        & (UpstreamFile.sha256 == (f"{file.sha256}/{job.id}" if own else file.sha256))
    )


async def _ensure_upstream(ctx: AccountContext, claimed: Claim[Job], file_id: str) -> NotYet | JobError | None:
    job = claimed.row
    async with ctx.db.worker() as session:
        file = await session.get_one(File, file_id)
        same = _is_for(ctx, job, file)
        own = ctx.upstream.capabilities.labels_in == "training_file"
        await session.execute(
            insert(UpstreamFile)
            .values(
                id=new_id("upfile-"),
                account_id=ctx.upstream.account_id,
                project_id=job.project_id,
                sha256=f"{file.sha256}/{job.id}" if own else file.sha256,
                due_at=func.now(),
            )
            .on_conflict_do_nothing(index_elements=["account_id", "project_id", "sha256"])
        )
        row = (await session.scalars(select(UpstreamFile).where(same).with_for_update(read=True))).one()
        claim = None
        if row.phase != "uploaded":
            claim = await leases.claim(session, UpstreamFile, lease_seconds=ctx.settings.lease_seconds, where=[same])
    if claim is None:
        return await _check_file(ctx, claimed, row, file) if ctx.upstream.capabilities.checked_files else None
    if not claim:
        return NotYet("The file is being sent for another job.", OTHER_UPLOAD_SECONDS)
    fault_points.point("upload.claimed")
    async with leases.heartbeat(ctx.db, claim[0]):
        outcome = await _send(ctx, claim[0], job, file)
    if outcome is None and ctx.upstream.capabilities.checked_files:
        return NotYet("The upstream is checking the file.", 0.0)
    return outcome


async def _check_file(
    ctx: AccountContext, claimed: Claim[Job], row: UpstreamFile, file: File
) -> NotYet | JobError | None:
    try:
        async with claimed.call(ctx.settings.control_timeout_seconds):
            state = await ctx.upstream.file_state(row.upstream_file_id or "")
    except (UpstreamError, TimeoutError) as error:
        return NotYet(f"The upstream does not answer: {error}", RETRY_SECONDS)
    match state:
        case "ready":
            return None
        case "pending":
            return NotYet("The upstream is checking the file.", FILE_CHECK_SECONDS)
        case "gone":
            await _forget(ctx, row)
            return NotYet("The upstream has lost the file; it is sent again.", 0.0)
        case "failed":
            await _forget(ctx, row)
            return JobError(
                "upstream_refused_file", f"The upstream cannot use the file {file.filename}.", "training_file"
            )


async def _forget(ctx: AccountContext, row: UpstreamFile) -> None:
    async with ctx.db.worker() as session:
        await session.execute(
            update(UpstreamFile)
            .where(UpstreamFile.id == row.id, UpstreamFile.upstream_file_id == row.upstream_file_id)
            .values(phase="idle", upstream_file_id=None, due_at=func.now())
        )
    log.warning("upload.vanished", file=row.id, upstream_file=row.upstream_file_id)


async def _send(ctx: AccountContext, claimed: Claim[UpstreamFile], job: Job, file: File) -> NotYet | JobError | None:
    name = upstream_file_name(ctx.instance, claimed.row.project_id, claimed.row.sha256)
    if claimed.row.phase == "intent":
        try:
            being_deleted = await _being_deleted(ctx, claimed.row)
            async with claimed.call(ctx.settings.control_timeout_seconds):
                found = await ctx.upstream.find_file(name, file.size_bytes, other_than=being_deleted)
        except (UpstreamError, TimeoutError) as error:
            return await _give_back(ctx, claimed, "intent", f"The upstream does not answer: {error}", RETRY_SECONDS)
        if found is not None:
            await _record_sent(ctx, claimed, job, file, found)
            return None
    async with ctx.db.worker() as session:
        unanswered = claimed.row.failures + (claimed.row.phase == "intent")
        await leases.write(session, claimed, {"phase": "intent", "failures": unanswered})
    fault_points.point("upload.intent_committed")
    try:
        outcome = await ctx.upstream.upload_file(name, file.size_bytes, ctx.storage.read(file.storage_key))
    except StorageUnavailable:  # the upstream has had a part at most, and takes only the whole
        return await _give_back(ctx, claimed, "idle", STORE_UNAVAILABLE, STORE_UNAVAILABLE_SECONDS)
    fault_points.point("upload.answered")
    match outcome:
        case Created(id=upstream_id):
            await _record_sent(ctx, claimed, job, file, upstream_id)
            return None
        case Refused(kind="invalid" | "not_found", message=message):
            await _give_back(ctx, claimed, "idle", message, 0.0)
            return JobError(
                "upstream_refused_file", f"The upstream refuses the file {file.filename}: {message}", "training_file"
            )
        case Refused() as refused:
            pause = await cool_down.after_refusal(ctx, refused)
            return await _give_back(ctx, claimed, "idle", pause.reason, pause.seconds)
        case NotSent(reason=reason):
            return await _give_back(ctx, claimed, "idle", f"The upstream cannot be reached: {reason}", RETRY_SECONDS)
        case Unknown(reason=reason):
            return await _after_unknown(ctx, claimed, reason)


async def _being_deleted(ctx: AccountContext, row: UpstreamFile) -> Sequence[str]:
    """Upstream files of this content whose deletion is pending: a file that is found by its name may be one of them."""
    async with ctx.db.worker() as session:
        query = select(Deletion.upstream_id).where(
            Deletion.project_id == row.project_id,
            Deletion.account_id == row.account_id,
            Deletion.kind == "upstream_file",
            Deletion.status != "done",
            Deletion.upstream_id.is_not(None),
        )
        return [each for each in await session.scalars(query) if each is not None]


async def _record_sent(
    ctx: AccountContext, claimed: Claim[UpstreamFile], job: Job, file: File, upstream_id: str
) -> None:
    async with ctx.db.worker() as session:
        await leases.give_back(
            session, claimed, {"phase": "uploaded", "upstream_file_id": upstream_id}, due_in_seconds=None
        )
        await add_events(session, job.id, job.project_id, [NewEvent(message=f"Sent {file.id} to the upstream")])
    fault_points.point("upload.recorded")


async def _after_unknown(ctx: AccountContext, claimed: Claim[UpstreamFile], reason: str) -> NotYet | JobError:
    failures = claimed.row.failures + 1
    give_up = failures >= MAX_UNKNOWN
    async with ctx.db.worker() as session:
        await leases.write(session, claimed, {"failures": 0 if give_up else failures})
    reason = f"The upstream gave no clear answer: {reason}"
    not_yet = await _give_back(ctx, claimed, "intent", reason, RETRY_SECONDS * min(failures, 20))
    return JobError("upstream_unavailable", reason, "training_file") if give_up else not_yet


async def _give_back(
    ctx: AccountContext, claimed: Claim[UpstreamFile], phase: str, reason: str, seconds: float
) -> NotYet:
    async with ctx.db.worker() as session:
        await leases.give_back(session, claimed, {"phase": phase}, due_in_seconds=0.0)
    log.info("upload.deferred", reason=reason, seconds=seconds)
    return NotYet(reason, seconds)
