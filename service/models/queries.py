"""Queries for tuned models, within one project."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import Job, Model
from service.identity.model_access import usable


async def find_model(session: AsyncSession, project_id: str, name: str) -> Model | None:
    """The tuned model or checkpoint with this name, if it is the project's own or granted to it."""
    query = select(Model).where(usable(project_id), Model.name == name, Model.deleted_at.is_(None))
    return (await session.scalars(query)).one_or_none()


async def list_models(session: AsyncSession, project_id: str) -> Sequence[Model]:
    """The project's tuned models and all that was granted to it, newest first; without its own checkpoints, which are
    listed with their job."""
    own = (Model.project_id == project_id) & (Model.kind == "model")
    query = (
        select(Model)
        .where(own | ((Model.project_id != project_id) & usable(project_id)), Model.deleted_at.is_(None))
        .order_by(Model.created_at.desc(), Model.name)
    )
    return (await session.scalars(query)).all()


async def parent_models(session: AsyncSession, project_id: str, names: Sequence[str]) -> dict[str, str]:
    """The models that the project's own models were trained from, by name. Granted models are left out: what another
    project's job trained from is not disclosed."""
    query = (
        select(Model.name, Job.model)
        .join(Job, (Job.project_id == Model.project_id) & (Job.id == Model.job_id))
        .where(Model.project_id == project_id, Model.name.in_(names))
    )
    return {row[0]: row[1] for row in await session.execute(query)}


async def lock_model(session: AsyncSession, model: Model) -> bool:
    """Lock a model of the session's project against deletion. Returns False for one that is deleted already.

    A granted model cannot be locked: its own project may delete it.
    """
    query = select(Model.name).where(
        Model.project_id == model.project_id, Model.name == model.name, Model.deleted_at.is_(None)
    )
    return await session.scalar(query.with_for_update(read=True)) is not None
