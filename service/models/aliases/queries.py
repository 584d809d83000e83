"""Queries for model aliases, within one project."""

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import BindParameter, Select, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.advisory_locks import PROJECT_ALIASES
from service.database.reads import Query, Reader
from service.database.tables import AliasPromotion, Model, ModelAlias
from service.errors import NotFound, unknown_cursor
from service.http.wire_types import PageQuery
from service.identity.model_access import usable

PREFIX = "alias_"

AliasTarget = tuple[ModelAlias, Model | None]
"""An alias, and the tuned model that it points at; None for a base model."""


async def find_alias(session: AsyncSession, project_id: str, name: str) -> ModelAlias | None:
    """The alias with this name."""
    query = select(ModelAlias).where(ModelAlias.project_id == project_id, ModelAlias.name == name)
    return (await session.scalars(query)).one_or_none()


async def get_alias(session: AsyncSession, project_id: str, name_or_id: str) -> ModelAlias:
    """The alias with this name or id. Raises `NotFound`."""
    key = ModelAlias.id if name_or_id.startswith(PREFIX) else ModelAlias.name
    query = select(ModelAlias).where(ModelAlias.project_id == project_id, key == name_or_id)
    row = (await session.scalars(query)).one_or_none()
    if row is None:
        raise NotFound(f"No such model alias: {name_or_id}", param="alias", code="model_alias_not_found")
    return row


async def find_alias_target(session: AsyncSession, project_id: str, name: str) -> AliasTarget | None:
    """The alias with this name and its present target, read in one statement so that both are of the same moment."""
    row = (await session.execute(_alias_targets(project_id).where(ModelAlias.name == name))).one_or_none()
    return None if row is None else (row[0], row[1])


class AliasRow(NamedTuple):
    """The columns of an alias that its callers see, and the base model and account of the tuned model that it points
    at, which are null if it points at a base model."""

    name: str
    model: str
    created_at: dt.datetime
    base_model: str | None
    account_id: str | None


_PROJECT: BindParameter[str] = bindparam("project_id")
_TARGETS = (
    select(ModelAlias.name, ModelAlias.model, ModelAlias.created_at, Model.base_model, Model.account_id)
    .outerjoin(Model, usable(_PROJECT) & (Model.name == ModelAlias.model) & Model.deleted_at.is_(None))
    .where(ModelAlias.project_id == _PROJECT)
)
_ALL = Query(AliasRow, _TARGETS.order_by(ModelAlias.id.desc()))
_ONE = Query(AliasRow, _TARGETS.where(ModelAlias.name == bindparam("name")))


async def read_aliases(reader: Reader, project_id: str) -> list[AliasRow]:
    """Every alias with its present target, newest first."""
    return await reader.all(_ALL, project_id=project_id)


async def read_alias(reader: Reader, project_id: str, name: str) -> AliasRow | None:
    """The alias with this name and its present target."""
    return await reader.first(_ONE, project_id=project_id, name=name)


async def alias_names_of(session: AsyncSession, project_id: str, model: str) -> Sequence[str]:
    """The names of the aliases that point at a model or at one of its checkpoints."""
    query = select(ModelAlias.name).where(
        ModelAlias.project_id == project_id,
        (ModelAlias.model == model) | ModelAlias.model.startswith(f"{model}:ckpt-step-", autoescape=True),
    )
    return (await session.scalars(query.order_by(ModelAlias.name))).all()


async def lock_aliases(session: AsyncSession, project_id: str) -> None:
    """Lock the project's aliases until the transaction ends, for changes of them and for what relies on them."""
    await session.execute(PROJECT_ALIASES.take(project_id))


async def list_aliases(session: AsyncSession, project_id: str, query: PageQuery) -> Sequence[ModelAlias]:
    """Up to `limit + 1` aliases, newest first. Raises `InvalidRequest` for an unknown cursor."""
    statement = select(ModelAlias).where(ModelAlias.project_id == project_id)
    if query.after is not None:
        known = await session.scalar(
            select(ModelAlias.id).where(ModelAlias.project_id == project_id, ModelAlias.id == query.after)
        )
        if known is None:
            raise unknown_cursor(query.after)
        statement = statement.where(ModelAlias.id < query.after)
    return (await session.scalars(statement.order_by(ModelAlias.id.desc()).limit(query.limit + 1))).all()


async def list_promotions(session: AsyncSession, alias: ModelAlias, query: PageQuery) -> Sequence[AliasPromotion]:
    """Up to `limit + 1` promotions, newest first. Raises `InvalidRequest` for an unknown cursor."""
    statement = select(AliasPromotion).where(AliasPromotion.alias_id == alias.id)
    if query.after is not None:
        version = query.after.removeprefix(f"{alias.id}.v")
        if f"{alias.id}.v{version}" != query.after or not _is_version(version, alias):
            raise unknown_cursor(query.after)
        statement = statement.where(AliasPromotion.version < int(version))
    return (await session.scalars(statement.order_by(AliasPromotion.version.desc()).limit(query.limit + 1))).all()


async def get_promotion(session: AsyncSession, alias: ModelAlias, version: int) -> AliasPromotion | None:
    """The promotion with this version; None if there is none."""
    return await session.get(AliasPromotion, (alias.id, version))


def _alias_targets(project_id: str) -> Select[ModelAlias, Model | None]:
    return (
        select(ModelAlias, Model)
        .outerjoin(Model, usable(project_id) & (Model.name == ModelAlias.model) & Model.deleted_at.is_(None))
        .where(ModelAlias.project_id == project_id)
    )


def _is_version(text: str, alias: ModelAlias) -> bool:
    return text.isascii() and text.isdigit() and text == str(int(text)) and 1 <= int(text) <= alias.version
