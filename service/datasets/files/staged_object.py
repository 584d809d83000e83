"""Objects that are written before any row refers to them, so that a refusal, a crash or a cut leaves none behind."""

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
    """An object on its way in. Set `handed_over` once a transaction decides whether a row refers to it."""

    db: Database
    storage: Storage
    project_id: str
    storage_key: str
    announced: bool = False
    handed_over: bool = False

    async def keep(self, chunks: AsyncIterator[bytes], *, with_md5: bool = False) -> Stored:
        """Write the bytes, after noting that an object is about to be there: what a crash leaves, the janitor finds."""
        async with self.db.project(self.project_id) as session:
            await record_pending_upload(session, self.project_id, self.storage_key)
        self.announced = True
        fault_points.point("file.announced")
        stored = await self.storage.put(self.storage_key, chunks, with_md5=with_md5)
        fault_points.point("file.stored")
        return stored

    async def discard(self) -> None:
        """Remove the object and the note of it, best effort; the janitor does what fails here."""
        with suppress(Exception):
            await self.storage.delete(self.storage_key)
            async with self.db.project(self.project_id) as session:
                await session.execute(delete(PendingUpload).where(PendingUpload.storage_key == self.storage_key))


@asynccontextmanager
async def staged_object(db: Database, storage: Storage, project_id: str) -> AsyncIterator[StagedObject]:
    """A new object of a project, removed at the end unless it was handed over.

    A transaction whose commit was not answered may have been committed, so an object that is handed over is left to
    the janitor, which goes by the rows.
    """
    made = StagedObject(db, storage, project_id, f"{project_id}/{new_id('object-')}")
    try:
        yield made
    finally:
        if made.announced and not made.handed_over:
            await made.discard()
