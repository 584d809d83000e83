"""Tuned models, read within one project."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, select, update
from sqlalchemy import func as sql
from sqlalchemy.ext.asyncio import AsyncSession

from service.tables import CheckpointPermission, Job, Model


def usable(project_id: str) -> ColumnElement[bool]:
    """The condition under which a project may use a model: it is its own, or was granted (`models/permissions.py`)."""
    granted = select(CheckpointPermission.model).where(CheckpointPermission.project_id == project_id)
    return (Model.project_id == project_id) | Model.name.in_(granted)


async def find_model(session: AsyncSession, project_id: str, name: str) -> Model | None:
    """The tuned model or checkpoint called so, if it is the project's own or was granted to it."""
    query = select(Model).where(usable(project_id), Model.name == name, Model.deleted_at.is_(None))
    return (await session.scalars(query)).one_or_none()


async def list_models(session: AsyncSession, project_id: str) -> Sequence[Model]:
    """The project's tuned models and what it was granted, newest first; own checkpoints are listed with their job."""
    own = (Model.project_id == project_id) & (Model.kind == "model")
    query = (
        select(Model)
        .where(own | ((Model.project_id != project_id) & usable(project_id)), Model.deleted_at.is_(None))
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


async def keep_model(session: AsyncSession, model: Model) -> bool:
    """Keep a model of the session's project from being deleted meanwhile. False: it has just been.

    One that was granted cannot be kept: whose it is may delete it.
    """
    query = select(Model.name).where(
        Model.project_id == model.project_id, Model.name == model.name, Model.deleted_at.is_(None)
    )
    return await session.scalar(query.with_for_update(read=True)) is not None


async def jobs_training_from(session: AsyncSession, project_id: str, names: Sequence[str]) -> Sequence[str]:
    """The project's jobs that have not ended and go on from one of these models."""
    query = select(Job.id).where(Job.project_id == project_id, Job.model.in_(names), Job.finished_at.is_(None))
    return (await session.scalars(query.order_by(Job.id).limit(5))).all()
