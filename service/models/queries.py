"""Tuned models, read within one project."""

from collections.abc import Sequence

from sqlalchemy import func as sql
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.tables import Model


async def find_model(session: AsyncSession, project_id: str, name: str) -> Model | None:
    """The project's tuned model or checkpoint called so."""
    query = select(Model).where(Model.project_id == project_id, Model.name == name, Model.deleted_at.is_(None))
    return (await session.scalars(query)).one_or_none()


async def list_models(session: AsyncSession, project_id: str) -> Sequence[Model]:
    """The project's tuned models, newest first; checkpoints are listed with their job."""
    query = (
        select(Model)
        .where(Model.project_id == project_id, Model.kind == "model", Model.deleted_at.is_(None))
        .order_by(Model.created_at.desc(), Model.name)
    )
    return (await session.scalars(query)).all()


async def mark_deleted(session: AsyncSession, project_id: str, name: str) -> Sequence[Model]:
    """Delete a tuned model and its checkpoints' names from the project. Returns what was deleted."""
    query = (
        update(Model)
        .where(
            Model.project_id == project_id,
            (Model.name == name) | Model.name.startswith(f"{name}:ckpt-step-", autoescape=True),
            Model.deleted_at.is_(None),
        )
        .values(deleted_at=sql.now())
        .returning(Model)
    )
    return (await session.scalars(query)).all()
