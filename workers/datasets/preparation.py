"""Prepares datasets and creates the resulting files.

Objects are recorded as pending uploads before they are written. The files, their reports and the end of the preparation
are one fenced transaction: a worker that was killed, cancelled or whose lease was lost leaves none of them, and another
worker creates them once.
"""

from typing import ClassVar, NamedTuple

import msgspec
from sqlalchemy import delete, func
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.catalogue.lookup import known_model
from service.database import leases
from service.database.leases import Claim
from service.database.tables import DatasetPreparation, File, PendingUpload
from service.datasets.files.actions import NewFile, create_file, record_pending_upload
from service.datasets.files.queries import FINE_TUNE
from service.datasets.preparation.outcome import output_names
from service.datasets.preparation.stored import stored_options
from service.datasets.processes.messages import Preparation, PrepareRequest, Refusal
from service.ids import new_id
from service.processes.pool import OnProgress
from service.settings import Settings
from workers.context import Context
from workers.datasets.in_process import DatasetWork, attempt
from workers.datasets.limits import cpu_seconds, disk_bytes

CRASHED = Refusal(
    code="preparation_crashed",
    message="The preparation ended early several times. Try a smaller file, or ask for help.",
    param=None,
)
DELETED = Refusal(code="file_not_found", message="The input file was deleted.", param="file")


class _Answer(NamedTuple):
    """The answer of a process to a request, whose keys name the objects that it wrote."""

    request: PrepareRequest
    outcome: Preparation | Refusal


async def prepare(ctx: Context, claimed: Claim[DatasetPreparation]) -> None:
    """Attempt the claimed preparation. One that is given up (see `retry_policy`) has failed."""
    await attempt(_PreparationWork(ctx, claimed))


class _PreparationWork(DatasetWork[DatasetPreparation, File, _Answer | Refusal]):
    failure_event = "preparation.failed"
    started_values: ClassVar = {"status": "running"}

    def log_fields(self) -> dict[str, str]:
        return {"preparation": self.claimed.row.id}

    async def load(self, session: AsyncSession) -> File:
        return await session.get_one(File, self.claimed.row.input_file_id)

    def counted(self) -> None:
        fault_points.point("prepare.counted")

    def result_without_attempt(self, loaded: File) -> Refusal | None:
        return DELETED if loaded.deleted_at is not None else None

    async def run(self, loaded: File, progress: OnProgress) -> _Answer:
        request = _request(self.claimed.row, loaded, self.ctx.settings)
        async with self.ctx.db.worker() as session:
            for key in _keys(request):
                await record_pending_upload(session, loaded.project_id, key)
        fault_points.point("prepare.announced")
        answer = await self.ctx.dataset_processes.prepare(request, progress, project_id=loaded.project_id)
        return _Answer(request, answer)

    def exceeded(self, loaded: File, reason: str) -> Refusal:
        return Refusal(code="preparation_limit_exceeded", message=reason, param="file")

    def give_up(self, loaded: File) -> Refusal:
        return CRASHED

    async def record(self, loaded: File, result: _Answer | Refusal) -> None:
        match result:
            case Refusal():  # a process that crashed may have written objects, which the storage clean-up deletes
                await _fail(self.ctx, self.claimed, result, written_keys=())
            case _Answer(request, Refusal() as refusal):
                await _fail(self.ctx, self.claimed, refusal, written_keys=_keys(request))
            case _Answer(request, Preparation() as made):
                fault_points.point("prepare.stored")
                await _succeed(self.ctx, self.claimed, loaded, request, made)
                fault_points.point("prepare.ended")


def _request(row: DatasetPreparation, file: File, settings: Settings) -> PrepareRequest:
    training, validation, changes = (f"{file.project_id}/{new_id('object-')}" for _ in range(3))
    return PrepareRequest(
        storage_key=file.storage_key,
        filename=file.filename,
        options=stored_options(row),
        model=row.model,
        training_key=training,
        validation_key=validation,
        changes_key=changes,
        cpu_seconds=cpu_seconds(settings, file.size_bytes),
        disk_bytes=disk_bytes(settings, file.size_bytes),
    )


def _keys(request: PrepareRequest) -> tuple[str, ...]:
    return request.training_key, request.validation_key, request.changes_key


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
        await _delete_pending_uploads(session, (request.validation_key, request.changes_key))
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


async def _fail(
    ctx: Context, claimed: Claim[DatasetPreparation], refusal: Refusal, *, written_keys: tuple[str, ...]
) -> None:
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
        await _delete_pending_uploads(session, written_keys)


async def _delete_pending_uploads(session: AsyncSession, keys: tuple[str, ...]) -> None:
    await session.execute(delete(PendingUpload).where(PendingUpload.storage_key.in_(keys)))
