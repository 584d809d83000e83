"""Carries out deletions: claims one, deletes at the store or the upstream, records it. Every step may run twice.

Callers no longer see an object whose deletion was requested; this removes the data. Deleting a missing object succeeds,
so lost responses, killed workers and repeated attempts need no distinction. A deletion that keeps failing is marked as
failed after about a day (`tunegate deletions` lists it) and can be retried.
"""

from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Counter
from sqlalchemy import func, select, update

from service import fault_points
from service.backoff import backoff_seconds
from service.database import leases
from service.database.leases import Claim, LeaseLost
from service.database.tables import DatasetPreparation, Deletion, File, Job, Model, UpstreamFile
from service.datasets.files.reports import delete_reports
from service.upstreams.accounts import AccountUnusable
from service.upstreams.labels import upstream_file_name
from service.upstreams.port import UpstreamError
from workers.context import Context
from workers.deletions import projects
from workers.deletions.outcomes import DONE, Done, NotYet
from workers.deletions.upstream_file_cleanup import UploadInProgress, release_content

log = structlog.get_logger()

ENDED = Counter("tunegate_deletions_total", "Deletions that ended, by what was deleted and how.", ["kind", "outcome"])

MAX_ATTEMPTS = 36
"""With pauses that double up to an hour, this takes about a day."""

MAX_PAUSE_SECONDS = 3600.0
IN_USE_SECONDS = 60.0
UPLOAD_IN_PROGRESS_SECONDS = 5.0


async def carry_out(ctx: Context, claimed: Claim[Deletion]) -> None:
    """One attempt of a claimed deletion. After any error it is retried, or marked as failed after the last attempt."""
    try:
        async with leases.heartbeat(ctx.db, claimed):
            try:
                outcome = await _STEPS[claimed.row.kind](ctx, claimed)
            except UploadInProgress:
                outcome = NotYet("A worker may still be uploading it.", UPLOAD_IN_PROGRESS_SECONDS)
            except LeaseLost:
                raise
            except Exception as error:
                await _failed(ctx, claimed, error)
                return
            await _record(ctx, claimed, outcome)
    except LeaseLost:
        log.info("deletion.lease_lost", deletion=claimed.row.id)


async def _record(ctx: Context, claimed: Claim[Deletion], outcome: Done | NotYet) -> None:
    async with ctx.db.worker() as session:
        match outcome:
            case NotYet(reason, seconds):
                waiting = {"last_error": reason, "failures": 0}
                await leases.give_back(session, claimed, waiting, due_in_seconds=seconds)
            case Done():
                done = {"status": "done", "finished_at": func.now(), "last_error": None, "failures": 0}
                await leases.give_back(session, claimed, done, due_in_seconds=None)
                ENDED.labels(claimed.row.kind, "done").inc()
                log.info("deletion.done", deletion=claimed.row.id, kind=claimed.row.kind, subject=claimed.row.subject)


async def _failed(ctx: Context, claimed: Claim[Deletion], error: Exception) -> None:
    row, failures = claimed.row, claimed.row.failures + 1
    given_up = failures >= MAX_ATTEMPTS and row.kind != "project"
    message = f"{error.kind}: {error}" if isinstance(error, UpstreamError) else type(error).__name__
    if isinstance(error, AccountUnusable):
        message = str(error)
    values: dict[str, object] = {"failures": failures, "last_error": message}
    pause = backoff_seconds(failures, max_seconds=MAX_PAUSE_SECONDS)
    if isinstance(error, UpstreamError):
        pause = max(pause, error.retry_after_seconds or 0.0)
    if given_up:
        values |= {"status": "failed", "finished_at": func.now()}
        ENDED.labels(row.kind, "failed").inc()
    (log.error if given_up else log.warning)(
        "deletion.failed" if given_up else "deletion.deferred",
        deletion=row.id,
        kind=row.kind,
        subject=row.subject,
        failures=failures,
        error=message,
        exc_info=None if isinstance(error, (UpstreamError, AccountUnusable, TimeoutError)) else error,
    )
    async with ctx.db.worker() as session:
        await leases.give_back(session, claimed, values, due_in_seconds=None if given_up else pause)


async def _file(ctx: Context, claimed: Claim[Deletion]) -> Done | NotYet:
    """Delete a file's content, its preparations' lists of changes, its reports, and its upstream files."""
    row = claimed.row
    async with ctx.db.worker() as session:
        file = await session.get(File, row.subject)
        if file is None or file.deleted_at is None:
            return DONE
        change_lists = select(DatasetPreparation.changes_key).where(
            DatasetPreparation.project_id == row.project_id,
            DatasetPreparation.input_file_id == file.id,
            DatasetPreparation.changes_key.is_not(None),
        )
        keys = [file.storage_key, *(key for key in await session.scalars(change_lists) if key is not None)]
    await ctx.storage.delete_all(keys)
    fault_points.point("deletion.content_deleted")
    async with ctx.db.worker() as session:
        await leases.write(session, claimed, {"subject": row.subject})
        await session.execute(update(File).where(File.id == file.id).values(content_deleted_at=func.now()))
        await session.execute(
            update(DatasetPreparation)
            .where(DatasetPreparation.project_id == row.project_id, DatasetPreparation.input_file_id == file.id)
            .values(changes_key=None, changes_size_bytes=None)
        )
        await delete_reports(session, row.project_id, file.id)
    async with ctx.db.worker() as session:
        await leases.write(session, claimed, {"subject": row.subject})
        await release_content(
            session, ctx.settings, project_id=row.project_id, sha256=file.sha256, size_bytes=file.size_bytes
        )
    fault_points.point("deletion.upstream_files_released")
    return DONE


async def _upstream_file(ctx: Context, claimed: Claim[Deletion]) -> Done | NotYet:
    """Delete an upstream file by its id, or every unrecorded one by its name after an upload without a response."""
    row = claimed.row
    upstream = await ctx.accounts.get(row.account_id or "")
    if row.upstream_id is not None:
        if not await _recorded(ctx, row, row.upstream_id):
            async with claimed.call(ctx.settings.control_timeout_seconds):
                await upstream.delete_file(row.upstream_id)
            fault_points.point("deletion.upstream_answered")
        return DONE
    content = row.sha256 or ""
    name = upstream_file_name(ctx.instance, row.project_id, content)
    in_use: set[str] = set()
    while True:
        async with claimed.call(ctx.settings.control_timeout_seconds):
            found = await upstream.find_file(name, row.size_bytes or 0, other_than=in_use)
        if found is None:
            return DONE
        if await _is_being_uploaded(ctx, row):
            return NotYet("The same content is being uploaded again.", IN_USE_SECONDS)
        if await _recorded(ctx, row, found):
            in_use.add(found)
            continue
        async with claimed.call(ctx.settings.control_timeout_seconds):
            await upstream.delete_file(found)
        fault_points.point("deletion.upstream_answered")


async def _upstream_model(ctx: Context, claimed: Claim[Deletion]) -> Done | NotYet:
    """Delete a tuned model or a checkpoint, after every job that trains from it has ended, of any project."""
    row = claimed.row
    async with ctx.db.worker() as session:
        jobs_from_it = select(Job.id).where(Job.upstream_model == row.upstream_id, Job.finished_at.is_(None)).limit(1)
        if await session.scalar(jobs_from_it) is not None:
            return NotYet("A job trains from it.", IN_USE_SECONDS)
        live_names = select(Model.name).where(
            Model.account_id == row.account_id, Model.upstream_name == row.upstream_id, Model.deleted_at.is_(None)
        )
        if await session.scalar(live_names.limit(1)) is not None:
            return DONE
    upstream = await ctx.accounts.get(row.account_id or "")
    async with claimed.call(ctx.settings.control_timeout_seconds):
        await upstream.delete_model(row.upstream_id or "")
    fault_points.point("deletion.upstream_answered")
    return DONE


async def _recorded(ctx: Context, row: Deletion, upstream_id: str) -> bool:
    """Whether a row, of any project, records this upstream file."""
    async with ctx.db.worker() as session:
        rows = select(UpstreamFile.id).where(
            UpstreamFile.account_id == row.account_id, UpstreamFile.upstream_file_id == upstream_id
        )
        return await session.scalar(rows.limit(1)) is not None


async def _is_being_uploaded(ctx: Context, row: Deletion) -> bool:
    """Whether a file that was just found may belong to an upload whose response has not arrived yet."""
    async with ctx.db.worker() as session:
        rows = select(UpstreamFile.id).where(
            UpstreamFile.account_id == row.account_id,
            UpstreamFile.project_id == row.project_id,
            UpstreamFile.sha256 == row.sha256,
            UpstreamFile.phase == "intent",
        )
        return await session.scalar(rows.limit(1)) is not None


_STEPS: dict[str, Callable[[Context, Claim[Deletion]], Awaitable[Done | NotYet]]] = {
    "file": _file,
    "upstream_file": _upstream_file,
    "upstream_model": _upstream_model,
    "project": projects.delete_project,
}
