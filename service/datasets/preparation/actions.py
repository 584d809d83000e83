"""Creates and cancels preparations, and reads pages of their changes."""

import msgspec
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import Catalogue
from service.catalogue.lookup import known_model
from service.database.leased_work import PREPARATIONS, wake
from service.database.tables import DatasetPreparation
from service.datasets.files.queries import get_referenced_file
from service.datasets.preparation.changes import Change, change_offset
from service.datasets.preparation.queries import get_preparation
from service.datasets.preparation.schemas import CreatePreparation, read_options
from service.errors import InvalidRequest, unknown_cursor
from service.ids import new_id
from service.states import FilePurpose
from service.storage import Storage

PREPARABLE: tuple[FilePurpose, ...] = ("user_data", "fine-tune")


async def create_preparation(
    session: AsyncSession, project_id: str, body: CreatePreparation, catalogue: Catalogue
) -> DatasetPreparation:
    """Create the preparation of a file; a worker carries it out. Raises `InvalidRequest` with the field at fault."""
    options = read_options(body)
    model = catalogue.default if body.model is None else known_model(catalogue, body.model)
    file = await get_referenced_file(session, project_id, body.file, param="file", purposes=PREPARABLE)
    row = DatasetPreparation(
        id=new_id("prep_"),
        project_id=project_id,
        input_file_id=file.id,
        input_size_bytes=file.size_bytes,
        model=model.name,
        options=msgspec.to_builtins(options),
        due_at=func.now(),
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    wake(session, PREPARATIONS, row.id, 0)
    return row


async def cancel_preparation(session: AsyncSession, project_id: str, preparation_id: str) -> DatasetPreparation:
    """Cancel a preparation at once: a worker that is making it loses its lease, and its results are dropped.

    A second cancel changes nothing. Raises `NotFound`, and `InvalidRequest` for one that succeeded or failed.
    """
    row = await get_preparation(session, project_id, preparation_id, lock=True)
    if row.status in ("succeeded", "failed"):
        raise InvalidRequest(
            f"The preparation has {row.status}; nothing is left to cancel.",
            param="id",
            code="preparation_not_cancellable",
        )
    if row.status != "cancelled":
        row.status = "cancelled"
        row.finished_at = func.now()
        row.due_at = row.leased_until = None
        row.lease_token += 1
        await session.flush()
        await session.refresh(row)
    return row


async def read_changes(storage: Storage, row: DatasetPreparation, *, after: str | None, limit: int) -> list[Change]:
    """Up to `limit + 1` changes after the cursor `after`. Raises `InvalidRequest` for an unknown cursor.

    The id of a change contains the offset of its record, so every page costs the same.
    """
    offset = 0 if after is None else change_offset(after)
    if after is not None and (offset is None or row.changes_size_bytes is None or offset >= row.changes_size_bytes):
        raise unknown_cursor(after)
    if not row.changes_size_bytes or row.changes_key is None:
        return []
    needed = limit + 1 + (after is not None)
    records: list[bytes] = []
    rest = b""
    async for chunk in storage.read_from(row.changes_key, offset or 0):
        *complete, rest = (rest + chunk).split(b"\n")
        records += complete
        if len(records) >= needed:
            break
    if after is None:
        return [msgspec.json.decode(record, type=Change) for record in records[:needed]]
    if not records or not records[0].startswith(b'{"id":"' + after.encode() + b'"'):
        raise unknown_cursor(after)
    return [msgspec.json.decode(record, type=Change) for record in records[1:needed]]
