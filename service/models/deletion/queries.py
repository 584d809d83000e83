"""Queries for what depends on a tuned model."""

from collections.abc import Sequence

from sqlalchemy import Select, cast, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database
from service.database.tables import CheckpointPermission, Job, Model, Run
from service.models.aliases.queries import alias_names_of
from service.models.deletion.dependents import Dependents

MAX_LISTED = 100


def model_with_checkpoints(project_id: str, name: str) -> Select[Model]:
    """A project's tuned model with its checkpoints, or a single checkpoint: the rows that a deletion removes."""
    return select(Model).where(
        Model.project_id == project_id,
        (Model.name == name) | Model.name.startswith(f"{name}:ckpt-step-", autoescape=True),
        Model.deleted_at.is_(None),
    )


async def dependents_of(
    session: AsyncSession, project_id: str, name: str, names: Sequence[str], *, granted_projects: int
) -> Dependents:
    """What depends on a model. `names` are the names of the model and of its checkpoints."""
    return Dependents(
        checkpoints=[each for each in names if each != name],
        aliases=await alias_names_of(session, project_id, name),
        jobs=await _jobs_training_from(session, project_id, names),
        runs=await _runs_calling(session, project_id, names),
        granted_projects=granted_projects,
    )


async def granted_projects(db: Database, project_id: str, name: str) -> int:
    """The number of other projects that may use a project's model.

    The project may not see those projects, so this reads in the workers' scope, in a transaction of its own: a
    permission that is granted meanwhile is not counted.
    """
    async with db.worker() as session:
        own = model_with_checkpoints(project_id, name).with_only_columns(Model.name)
        query = select(func.count(CheckpointPermission.project_id.distinct())).where(
            CheckpointPermission.model.in_(own), CheckpointPermission.project_id != project_id
        )
        return await session.scalar(query) or 0


async def _jobs_training_from(session: AsyncSession, project_id: str, names: Sequence[str]) -> Sequence[str]:
    query = select(Job.id).where(Job.project_id == project_id, Job.model.in_(names), Job.finished_at.is_(None))
    return (await session.scalars(query.order_by(Job.id).limit(MAX_LISTED))).all()


async def _runs_calling(session: AsyncSession, project_id: str, names: Sequence[str]) -> Sequence[str]:
    """Unfinished runs with one of the names anywhere in their options."""
    named = func.jsonb_path_exists(
        Run.options, cast("$.** ? (@ == $names[*])", JSONPATH), literal({"names": list(names)}, JSONB)
    )
    query = select(Run.id).where(Run.project_id == project_id, Run.finished_at.is_(None), named)
    return (await session.scalars(query.order_by(Run.id).limit(MAX_LISTED))).all()
