"""A project with a worker's context that prepares datasets step by step."""

import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select, update

from service.database import leases
from service.database.leases import Claim
from service.database.tables import DatasetPreparation, File, FileReport, PendingUpload, Project
from service.datasets.files.actions import NewFile, create_file
from service.datasets.preparation.actions import create_preparation
from service.datasets.preparation.schemas import CreatePreparation, Preparation, show_preparation
from service.ids import new_id
from service.settings import Settings
from tests.workers.harness import open_context
from workers.context import Context
from workers.datasets import preparation

CSV = b"question,answer\n" + b"".join(b"What is %d?,It is %d.\n" % (number, number) for number in range(20))


@dataclass(frozen=True)
class PreparationHarness:
    """A project with a worker's context, whose steps are made by hand."""

    ctx: Context
    project_id: str

    async def ask(self, content: bytes = CSV, *, name: str = "facts.csv", **body: Any) -> str:
        """A preparation of a new file: its id."""
        key = f"{self.project_id}/{new_id('object-')}"

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        stored = await self.ctx.storage.put(key, chunks())
        async with self.ctx.db.project(self.project_id) as session:
            file = await create_file(
                session,
                project_id=self.project_id,
                storage_key=key,
                new_file=NewFile(filename=name, purpose="user_data", expires_after_seconds=None),
                stored=stored,
                model=self.ctx.catalogue.default,
            )
            wanted = msgspec.convert({"file": file.id, **body}, CreatePreparation)
            return (await create_preparation(session, self.project_id, wanted, self.ctx.catalogue)).id

    async def claim(self, preparation_id: str) -> Claim[DatasetPreparation]:
        """Claim it as if its time had come."""
        table = DatasetPreparation
        async with self.ctx.db.worker() as session:
            await session.execute(update(table).where(table.id == preparation_id).values(due_at=func.now()))
            (claimed,) = await leases.claim(session, table, lease_seconds=30.0, where=[table.id == preparation_id])
        return claimed

    async def step(self, preparation_id: str) -> Preparation:
        """One step, as a worker does it."""
        await preparation.prepare(self.ctx, await self.claim(preparation_id))
        return await self.shown(preparation_id)

    async def shown(self, preparation_id: str) -> Preparation:
        """The preparation as the API shows it."""
        async with self.ctx.db.worker() as session:
            return show_preparation(await session.get_one(DatasetPreparation, preparation_id))

    async def counts(self) -> dict[str, int]:
        """How many files were made, reports asked for, and objects announced."""
        async with self.ctx.db.project(self.project_id) as session:
            made = select(func.count()).select_from(File).where(File.purpose == "fine-tune")
            return {
                "files": await session.scalar(made) or 0,
                "reports": await session.scalar(select(func.count()).select_from(FileReport)) or 0,
                "announced": await session.scalar(select(func.count()).select_from(PendingUpload)) or 0,
            }


@pytest.fixture
def worker_settings(settings: Settings) -> Settings:
    """Settings of a worker that has no upstream to call."""
    return dataclasses.replace(
        settings, redis_url="", upstream_base_url="http://127.0.0.1:1/v1", upstream_api_key="none", lease_seconds=30.0
    )


@pytest.fixture
async def harness(worker_settings: Settings) -> AsyncIterator[PreparationHarness]:
    """A harness with a database of its own."""
    async with open_context(worker_settings) as ctx:
        project_id = new_id("proj_")
        async with ctx.db.admin() as session:
            session.add(Project(id=project_id, name="project"))
        yield PreparationHarness(ctx, project_id)
