"""Finding what depends on a tuned model."""

from collections.abc import Sequence

from sqlalchemy import Select, cast, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database
from service.database.tables import CheckpointPermission, Job, Model, Run
from service.models.aliases.queries import names_of
from service.models.deletion.dependents import Dependents

MOST_LISTED = 100


def family(project_id: str, name: str) -> Select[Model]:
    """A project's tuned model and its checkpoints, or a checkpoint alone: what goes when it is deleted."""
    return select(Model).where(
        Model.project_id == project_id,
        (Model.name == name) | Model.name.startswith(f"{name}:ckpt-step-", autoescape=True),
        Model.deleted_at.is_(None),
    )


async def dependents_of(
    session: AsyncSession, project_id: str, name: str, names: Sequence[str], *, granted_projects: int
) -> Dependents:
    """What depends on a model; `names` are its own and its checkpoints'."""
    return Dependents(
        checkpoints=[each for each in names if each != name],
        aliases=await names_of(session, project_id, name),
        jobs=await _jobs_training_from(session, project_id, names),
        runs=await _runs_asking(session, project_id, names),
        granted_projects=granted_projects,
    )


async def granted_projects(db: Database, project_id: str, name: str) -> int:
    """In how many other projects a project's model may be used. Those are not for the project to see, only how many:
    so this reads in the workers' scope, and what is granted a moment later is not in it."""
    async with db.worker() as session:
        own = family(project_id, name).with_only_columns(Model.name)
        query = select(func.count(CheckpointPermission.project_id.distinct())).where(
            CheckpointPermission.model.in_(own), CheckpointPermission.project_id != project_id
        )
        return await session.scalar(query) or 0


async def _jobs_training_from(session: AsyncSession, project_id: str, names: Sequence[str]) -> Sequence[str]:
    query = select(Job.id).where(Job.project_id == project_id, Job.model.in_(names), Job.finished_at.is_(None))
    return (await session.scalars(query.order_by(Job.id).limit(MOST_LISTED))).all()


async def _runs_asking(session: AsyncSession, project_id: str, names: Sequence[str]) -> Sequence[str]:
    """Runs name the models that they ask somewhere in their options."""
    named = func.jsonb_path_exists(
        Run.options, cast("$.** ? (@ == $names[*])", JSONPATH), literal({"names": list(names)}, JSONB)
    )
    query = select(Run.id).where(Run.project_id == project_id, Run.finished_at.is_(None), named)
    return (await session.scalars(query.order_by(Run.id).limit(MOST_LISTED))).all()
