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
from service.models.aliases.queries import find_alias, lock_aliases
from service.models.deletion.dependents import Dependents, deletion_obstacle
from service.models.deletion.queries import dependents_of, model_with_checkpoints


async def delete_model(
    session: AsyncSession, *, project_id: str, actor: Actor, name: str, granted_projects: int, force: bool
) -> None:
    """Delete a tuned model and its checkpoints at once; a worker deletes them upstream.

    The rows are marked as deleted before dependents are searched, so that no job can begin to train from the model in
    between. Raises `NotFound`, and `Conflict` for an alias and for a model with unfinished dependents.
    """
    await lock_aliases(session, project_id)
    if await find_alias(session, project_id, name) is not None:
        raise Conflict(
            f"'{name}' is an alias. DELETE /v1/model_aliases/{name} deletes it; the model stays.",
            param="model",
            code="model_not_deletable",
        )
    rows = await _soft_delete(session, project_id, name)
    found = await dependents_of(
        session, project_id, name, [row.name for row in rows], granted_projects=granted_projects
    )
    if (reason := deletion_obstacle(found, force=force)) is not None:
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
            resource_name=row.name,
            data={"resource_type": "model"},
        )


async def find_dependents(session: AsyncSession, project_id: str, name: str, *, granted_projects: int) -> Dependents:
    """What depends on a tuned model of the project. Raises `NotFound`."""
    rows = (await session.scalars(model_with_checkpoints(project_id, name))).all()
    if not rows:
        raise model_not_found(name)
    return await dependents_of(
        session, project_id, name, sorted(row.name for row in rows), granted_projects=granted_projects
    )


async def _soft_delete(session: AsyncSession, project_id: str, name: str) -> Sequence[Model]:
    own = model_with_checkpoints(project_id, name).with_only_columns(Model.name)
    statement = update(Model).where(Model.name.in_(own)).values(deleted_at=func.now()).returning(Model)
    return (await session.scalars(statement)).all()
