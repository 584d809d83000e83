"""Preparing datasets: claimed, made in a process of its own, recorded with the files that came of it.

Objects are announced before they are written. The files, their reports and the preparation's end are one fenced
transaction, so a worker that was killed, or taken over, or cancelled leaves none of them, and another makes them once.
"""

import time

import msgspec
import structlog
from sqlalchemy import delete, func
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.catalogue.lookup import known_model
from service.database import leases
from service.database.leases import Claim
from service.database.tables import DatasetPreparation, File, PendingUpload
from service.datasets.files.actions import NewFile, create_file, record_pending_upload
from service.datasets.files.queries import FINE_TUNE
from service.datasets.preparation.options import Options
from service.datasets.processes.preparation import Preparation, PrepareRequest, Refusal, output_names
from service.ids import new_id
from workers.context import Context
from workers.datasets.retry_policy import MAX_ATTEMPTS, after_failure
from workers.process_pool import WorkFailed

log = structlog.get_logger()

PROGRESS_EVERY_SECONDS = 0.5
CRASHED = Refusal(
    code="preparation_crashed",
    message="The preparation ended early several times. Try a smaller file, or ask for help.",
    param=None,
)
DELETED = Refusal(code="file_not_found", message="The input file was deleted.", param="file")


async def prepare(ctx: Context, claimed: Claim[DatasetPreparation]) -> None:
    """Make the claimed preparation. One that cannot be made (see `tries`) has failed."""
    async with leases.heartbeat(ctx.db, claimed):
        tries = claimed.row.failures + 1
        async with ctx.db.worker() as session:
            await leases.write(session, claimed, {"failures": tries, "status": "running"})
            file = await session.get_one(File, claimed.row.input_file_id)
        fault_points.point("prepare.counted")
        if file.deleted_at is not None or tries > MAX_ATTEMPTS:
            await _fail(ctx, claimed, DELETED if file.deleted_at is not None else CRASHED, ())
            return
        request = _request(claimed.row, file)
        keys = (request.training_key, request.validation_key, request.changes_key)
        async with ctx.db.worker() as session:
            for key in keys:
                await record_pending_upload(session, file.project_id, key)
        fault_points.point("prepare.announced")
        try:
            made = await ctx.dataset_processes.prepare(request, _Told(ctx, claimed).progress)
        except WorkFailed as error:
            log.error("preparation.failed", preparation=claimed.row.id, tries=tries, error=str(error))
            if (again := after_failure(tries, store_unavailable=error.store_unavailable)) is not None:
                async with ctx.db.worker() as session:
                    await leases.give_back(session, claimed, {"failures": again.tries}, due_in_seconds=again.in_seconds)
                return
            made = CRASHED
        match made:
            case Refusal():
                await _fail(ctx, claimed, made, keys)
            case Preparation():
                fault_points.point("prepare.stored")
                await _succeed(ctx, claimed, file, request, made)
                fault_points.point("prepare.ended")


class _Told:
    """Writes progress into the row, not too often; the write is fenced, so it ends work that was taken away."""

    def __init__(self, ctx: Context, claimed: Claim[DatasetPreparation]) -> None:
        self._ctx = ctx
        self._claimed = claimed
        self._at = time.monotonic()

    async def progress(self, done_bytes: int) -> None:
        if time.monotonic() - self._at < PROGRESS_EVERY_SECONDS:
            return
        self._at = time.monotonic()
        async with self._ctx.db.worker() as session:
            await leases.write(session, self._claimed, {"progress_bytes": done_bytes})


def _request(row: DatasetPreparation, file: File) -> PrepareRequest:
    training, validation, changes = (f"{file.project_id}/{new_id('object-')}" for _ in range(3))
    return PrepareRequest(
        storage_key=file.storage_key,
        filename=file.filename,
        options=msgspec.convert(row.options, Options),
        model=row.model,
        training_key=training,
        validation_key=validation,
        changes_key=changes,
    )


async def _succeed(
    ctx: Context, claimed: Claim[DatasetPreparation], file: File, request: PrepareRequest, made: Preparation
) -> None:
    model = known_model(ctx.catalogue, request.model)
    names = output_names(file.filename, split=made.validation is not None)
    outputs = [(request.training_key, made.training, names[0]), (request.validation_key, made.validation, names[1])]
    async with ctx.db.worker() as session:
        files = [
            await create_file(
                session,
                project_id=file.project_id,
                storage_key=key,
                new_file=NewFile(filename=name, purpose=FINE_TUNE, expires_after_seconds=None),
                stored=stored,
                model=model,
            )
            for key, stored, name in outputs
            if stored is not None
        ]
        await _forget(session, (request.validation_key, request.changes_key))
        await leases.give_back(
            session,
            claimed,
            {
                "status": "succeeded",
                "training_file_id": files[0].id,
                "validation_file_id": files[1].id if len(files) > 1 else None,
                "changes_key": request.changes_key,
                "changes_size_bytes": made.changes.size_bytes,
                "outcome": msgspec.to_builtins(made.outcome),
                "progress_bytes": file.size_bytes,
                "finished_at": func.now(),
            },
            due_in_seconds=None,
        )


async def _fail(ctx: Context, claimed: Claim[DatasetPreparation], refusal: Refusal, keys: tuple[str, ...]) -> None:
    async with ctx.db.worker() as session:
        await leases.give_back(
            session,
            claimed,
            {
                "status": "failed",
                "error_code": refusal.code,
                "error_message": refusal.message,
                "error_param": refusal.param,
                "finished_at": func.now(),
            },
            due_in_seconds=None,
        )
        if refusal is not CRASHED:  # a process that crashed may have written some of them: the janitor looks
            await _forget(session, keys)


async def _forget(session: AsyncSession, keys: tuple[str, ...]) -> None:
    await session.execute(delete(PendingUpload).where(PendingUpload.storage_key.in_(keys)))
