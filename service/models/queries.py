"""Queries for tuned models, within one project."""

import datetime as dt
from typing import NamedTuple

from sqlalchemy import BindParameter, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.reads import Query, Reader
from service.database.tables import Job, Model
from service.identity.model_access import usable


async def find_model(session: AsyncSession, project_id: str, name: str) -> Model | None:
    """The tuned model or checkpoint with this name, if it is the project's own or granted to it."""
    query = select(Model).where(usable(project_id), Model.name == name, Model.deleted_at.is_(None))
    return (await session.scalars(query)).one_or_none()


class ModelRow(NamedTuple):
    """The columns of a tuned model that its callers see; `parent` is the model that it was trained from.

    `parent` is null for granted models: what another project's job trained from is not disclosed.
    """

    name: str
    base_model: str
    account_id: str
    created_at: dt.datetime
    parent: str | None


_PROJECT: BindParameter[str] = bindparam("project_id")
_MODELS = (
    select(Model.name, Model.base_model, Model.account_id, Model.created_at, Job.model)
    .outerjoin(Job, (Job.project_id == _PROJECT) & (Job.project_id == Model.project_id) & (Job.id == Model.job_id))
    .where(Model.deleted_at.is_(None))
)
_OWN = (Model.project_id == _PROJECT) & (Model.kind == "model")
_ALL = Query(
    ModelRow,
    _MODELS.where(_OWN | ((Model.project_id != _PROJECT) & usable(_PROJECT))).order_by(
        Model.created_at.desc(), Model.name
    ),
)
_ONE = Query(ModelRow, _MODELS.where(usable(_PROJECT), Model.name == bindparam("name")))


async def read_models(reader: Reader, project_id: str) -> list[ModelRow]:
    """The project's tuned models and all that was granted to it, newest first; without its own checkpoints, which are
    listed with their job."""
    return await reader.all(_ALL, project_id=project_id)


async def read_model(reader: Reader, project_id: str, name: str) -> ModelRow | None:
    """The tuned model or checkpoint with this name, if it is the project's own or granted to it."""
    return await reader.first(_ONE, project_id=project_id, name=name)


async def lock_model(session: AsyncSession, model: Model) -> bool:
    """Lock a model of the session's project against deletion. Returns False for one that is deleted already.

    A granted model cannot be locked: its own project may delete it.
    """
    query = select(Model.name).where(
        Model.project_id == model.project_id, Model.name == model.name, Model.deleted_at.is_(None)
    )
    return await session.scalar(query.with_for_update(read=True)) is not None
