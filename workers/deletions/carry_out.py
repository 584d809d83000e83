"""Carrying out deletions: claimed, done at the store or the upstream, recorded. Every step may be done twice.

What is deleted is gone for its callers already; this makes it true. Deleting what is gone is success, so a lost answer,
a killed worker and a second try need no distinction. What keeps failing is given up after about a day, shown as failed
(`tunegate deletions`), and can be tried again.
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

MAX_TRIES = 36
"""With pauses that double up to an hour: about a day."""

MAX_PAUSE_SECONDS = 3600.0
IN_USE_SECONDS = 60.0
STILL_SENDING_SECONDS = 5.0


async def carry_out(ctx: Context, claimed: Claim[Deletion]) -> None:
    """One try of a claimed deletion. Whatever it breaks at, it is tried again or shown as failed."""
    try:
        async with leases.heartbeat(ctx.db, claimed):
            try:
                outcome = await _STEPS[claimed.row.kind](ctx, claimed)
            except UploadInProgress:
                outcome = NotYet("A worker may still be sending it.", STILL_SENDING_SECONDS)
            except LeaseLost:
                raise
            except Exception as error:
                await _failed(ctx, claimed, error)
                return
            await _record(ctx, claimed, outcome)
    except LeaseLost:
        log.info("deletion.taken_over", deletion=claimed.row.id)


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
    given_up = failures >= MAX_TRIES and row.kind != "project"
    told = f"{error.kind}: {error}" if isinstance(error, UpstreamError) else type(error).__name__
    if isinstance(error, AccountUnusable):
        told = str(error)
    values: dict[str, object] = {"failures": failures, "last_error": told}
    pause = backoff_seconds(failures, max_seconds=MAX_PAUSE_SECONDS)
    if isinstance(error, UpstreamError):
        pause = max(pause, error.retry_after_seconds or 0.0)
    if given_up:
        values |= {"status": "failed", "finished_at": func.now()}
        ENDED.labels(row.kind, "failed").inc()
    (log.error if given_up else log.warning)(
        "deletion.failed" if given_up else "deletion.later",
        deletion=row.id,
        kind=row.kind,
        subject=row.subject,
        failures=failures,
        error=told,
        exc_info=None if isinstance(error, (UpstreamError, AccountUnusable, TimeoutError)) else error,
    )
    async with ctx.db.worker() as session:
        await leases.give_back(session, claimed, values, due_in_seconds=None if given_up else pause)


async def _file(ctx: Context, claimed: Claim[Deletion]) -> Done | NotYet:
    """A file's bytes, the lists of what preparations changed in it, its reports, and its copies upstream."""
    row = claimed.row
    async with ctx.db.worker() as session:
        file = await session.get(File, row.subject)
        if file is None or file.deleted_at is None:
            return DONE
        lists = select(DatasetPreparation.changes_key).where(
            DatasetPreparation.project_id == row.project_id,
            DatasetPreparation.input_file_id == file.id,
            DatasetPreparation.changes_key.is_not(None),
        )
        keys = [file.storage_key, *(key for key in await session.scalars(lists) if key is not None)]
    await ctx.storage.delete_all(keys)
    fault_points.point("deletion.content_gone")
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
    fault_points.point("deletion.copies_let_go")
    return DONE


async def _upstream_file(ctx: Context, claimed: Claim[Deletion]) -> Done | NotYet:
    """A copy by its id; or by its name what an unanswered upload may have left, one after the other."""
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
    kept: set[str] = set()
    while True:
        async with claimed.call(ctx.settings.control_timeout_seconds):
            found = await upstream.find_file(name, row.size_bytes or 0, other_than=kept)
        if found is None:
            return DONE
        if await _is_being_sent(ctx, row):
            return NotYet("The same content is being sent again.", IN_USE_SECONDS)
        if await _recorded(ctx, row, found):
            kept.add(found)
            continue
        async with claimed.call(ctx.settings.control_timeout_seconds):
            await upstream.delete_file(found)
        fault_points.point("deletion.upstream_answered")


async def _upstream_model(ctx: Context, claimed: Claim[Deletion]) -> Done | NotYet:
    """A tuned model or a checkpoint, once no job of anybody trains from it."""
    row = claimed.row
    async with ctx.db.worker() as session:
        trains = select(Job.id).where(Job.upstream_model == row.upstream_id, Job.finished_at.is_(None)).limit(1)
        if await session.scalar(trains) is not None:
            return NotYet("A job trains from it.", IN_USE_SECONDS)
        named = select(Model.name).where(
            Model.account_id == row.account_id, Model.upstream_name == row.upstream_id, Model.deleted_at.is_(None)
        )
        if await session.scalar(named.limit(1)) is not None:
            return DONE
    upstream = await ctx.accounts.get(row.account_id or "")
    async with claimed.call(ctx.settings.control_timeout_seconds):
        await upstream.delete_model(row.upstream_id or "")
    fault_points.point("deletion.upstream_answered")
    return DONE


async def _recorded(ctx: Context, row: Deletion, upstream_id: str) -> bool:
    """Whether a copy belongs to a row that is there now, of whatever project."""
    async with ctx.db.worker() as session:
        same = select(UpstreamFile.id).where(
            UpstreamFile.account_id == row.account_id, UpstreamFile.upstream_file_id == upstream_id
        )
        return await session.scalar(same.limit(1)) is not None


async def _is_being_sent(ctx: Context, row: Deletion) -> bool:
    """Whether a copy that was just found may be one whose sender has not heard its id yet."""
    async with ctx.db.worker() as session:
        same = select(UpstreamFile.id).where(
            UpstreamFile.account_id == row.account_id,
            UpstreamFile.project_id == row.project_id,
            UpstreamFile.sha256 == row.sha256,
            UpstreamFile.phase == "intent",
        )
        return await session.scalar(same.limit(1)) is not None


_STEPS: dict[str, Callable[[Context, Claim[Deletion]], Awaitable[Done | NotYet]]] = {
    "file": _file,
    "upstream_file": _upstream_file,
    "upstream_model": _upstream_model,
    "project": projects.delete_project,
}
