"""Objects that are written before a row refers to them. A refusal, crash or broken connection leaves none behind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import delete

from service import fault_points
from service.database.engine import Database
from service.database.tables import PendingUpload
from service.datasets.files.actions import record_pending_upload
from service.ids import new_id
from service.storage import Storage, Stored


@dataclass(slots=True)
class StagedObject:
    """An object that is being written. Set `handed_over` once a transaction decides whether a row refers to it."""

    db: Database
    storage: Storage
    project_id: str
    storage_key: str
    recorded: bool = False
    handed_over: bool = False

    async def write(self, chunks: AsyncIterator[bytes], *, with_md5: bool = False) -> Stored:
        """Write the bytes. The object is recorded first, so that the storage clean-up finds what a crash leaves."""
        async with self.db.project(self.project_id) as session:
            await record_pending_upload(session, self.project_id, self.storage_key)
        self.recorded = True
        fault_points.point("file.announced")
        stored = await self.storage.put(self.storage_key, chunks, with_md5=with_md5)
        fault_points.point("file.stored")
        return stored

    async def discard(self) -> None:
        """Remove the object and its record, best effort; the storage clean-up repeats what fails here."""
        with suppress(Exception):
            await self.storage.delete(self.storage_key)
            async with self.db.project(self.project_id) as session:
                await session.execute(delete(PendingUpload).where(PendingUpload.storage_key == self.storage_key))


@asynccontextmanager
async def staged_object(db: Database, storage: Storage, project_id: str) -> AsyncIterator[StagedObject]:
    """A new object of a project; it is removed at the end unless it was handed over.

    A transaction whose commit was not answered may have been committed. So an object that was handed over is left to
    the storage clean-up, which decides by the rows.
    """
    staged = StagedObject(db, storage, project_id, f"{project_id}/{new_id('object-')}")
    try:
        yield staged
    finally:
        if staged.recorded and not staged.handed_over:
            await staged.discard()
