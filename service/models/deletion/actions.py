"""Deleting a tuned model."""

from collections.abc import Sequence

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.lookup import model_not_found
from service.database.tables import Model
from service.deletions.requests import request_deletion
from service.errors import Conflict
from service.identity import audit
from service.identity.audit import Actor
from service.models.aliases.queries import find_alias, take_turn
from service.models.deletion.dependents import Dependents, in_the_way
from service.models.deletion.queries import dependents_of, family


async def delete_model(
    session: AsyncSession, *, project_id: str, actor: Actor, name: str, granted_projects: int, force: bool
) -> None:
    """Take a tuned model and its checkpoints out of the project, at once; a worker deletes the upstream's.

    Its rows are marked first, which keeps jobs from beginning with it: what is found then is all that depends on it.
    Raises `NotFound`, and `Conflict` for an alias and for a model that something live depends on.
    """
    await take_turn(session, project_id)
    if await find_alias(session, project_id, name) is not None:
        raise Conflict(
            f"'{name}' is an alias. DELETE /v1/model_aliases/{name} takes it away; the model stays.",
            param="model",
            code="model_not_deletable",
        )
    rows = await _mark_deleted(session, project_id, name)
    found = await dependents_of(
        session, project_id, name, [row.name for row in rows], granted_projects=granted_projects
    )
    if (reason := in_the_way(found, force=force)) is not None:
        raise Conflict(reason, param="model", code="model_in_use")
    if not rows:
        raise model_not_found(name)
    for row in rows:
        await request_deletion(
            session,
            project_id=project_id,
            kind="upstream_model",
            subject=row.name,
            account_id=row.account_id,
            upstream_id=row.upstream_name,
        )
        await audit.record(
            session,
            actor,
            "resource.deleted",
            project_id=project_id,
            resource_id=row.name,
            data={"resource_type": "model"},
        )


async def find_dependents(session: AsyncSession, project_id: str, name: str, *, granted_projects: int) -> Dependents:
    """What depends on one of the project's tuned models. Raises `NotFound`."""
    rows = (await session.scalars(family(project_id, name))).all()
    if not rows:
        raise model_not_found(name)
    return await dependents_of(
        session, project_id, name, sorted(row.name for row in rows), granted_projects=granted_projects
    )


async def _mark_deleted(session: AsyncSession, project_id: str, name: str) -> Sequence[Model]:
    own = family(project_id, name).with_only_columns(Model.name)
    marked = update(Model).where(Model.name.in_(own)).values(deleted_at=func.now()).returning(Model)
    return (await session.scalars(marked)).all()
