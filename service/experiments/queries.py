"""Queries for experiments, their arms and the arms' jobs, within one project."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.actions import Commitment, committed
from service.database.tables import Experiment, ExperimentArm, Job, Run
from service.errors import NotFound, unknown_cursor
from service.http.wire_types import PageQuery


@dataclass(frozen=True, slots=True)
class Arm:
    """An arm and its job, which is None before one has been created."""

    row: ExperimentArm
    job: Job | None

    @property
    def is_open(self) -> bool:
        """Whether a job is still to be created for it."""
        return self.job is None and self.row.skipped_reason is None

    @property
    def is_running(self) -> bool:
        """Whether its job has not ended."""
        return self.job is not None and self.job.finished_at is None


@dataclass(frozen=True, slots=True)
class FullExperiment:
    """An experiment with all that its object shows. `spent` is of the arms, `comparison` the run that compares them."""

    row: Experiment
    arms: Sequence[Arm]
    spent: Commitment
    comparison: Run | None


async def get_experiment(
    session: AsyncSession, project_id: str, experiment_id: str, *, lock: bool = False
) -> Experiment:
    """The experiment; with `lock`, its row is locked until the transaction ends. Raises `NotFound`."""
    query = select(Experiment).where(Experiment.project_id == project_id, Experiment.id == experiment_id)
    row = (await session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFound(f"No experiment '{experiment_id[:128]}'.", param="experiment_id", code="experiment_not_found")
    return row


async def list_experiments(session: AsyncSession, project_id: str, query: PageQuery) -> Sequence[Experiment]:
    """Up to `limit + 1` experiments, newest first. Raises `InvalidRequest` for an unknown cursor."""
    statement = select(Experiment).where(Experiment.project_id == project_id)
    if query.after is not None:
        known = select(Experiment.id).where(Experiment.project_id == project_id, Experiment.id == query.after)
        if await session.scalar(known) is None:
            raise unknown_cursor(query.after)
        statement = statement.where(Experiment.id < query.after)
    return (await session.scalars(statement.order_by(Experiment.id.desc().nulls_last()).limit(query.limit + 1))).all()


async def read_arms(session: AsyncSession, experiments: Sequence[Experiment]) -> dict[str, list[Arm]]:
    """The arms of these experiments by experiment, in order, each with its job."""
    arms: dict[str, list[Arm]] = defaultdict(list)
    project_ids = {row.project_id for row in experiments}
    found = await session.execute(
        select(ExperimentArm, Job)
        .outerjoin(Job, and_(Job.project_id == ExperimentArm.project_id, Job.id == ExperimentArm.job_id))
        .where(
            ExperimentArm.project_id.in_(project_ids), ExperimentArm.experiment_id.in_([row.id for row in experiments])
        )
        .order_by(ExperimentArm.experiment_id, ExperimentArm.arm)
    )
    for row, job in found:
        arms[row.experiment_id].append(Arm(row, job))
    return arms


async def read_full(session: AsyncSession, experiments: Sequence[Experiment]) -> list[FullExperiment]:
    """These experiments with their arms, their costs and their comparisons."""
    arms = await read_arms(session, experiments)
    run_ids = [row.comparison_run_id for row in experiments if row.comparison_run_id is not None]
    runs = {run.id: run for run in await session.scalars(select(Run).where(Run.id.in_(run_ids)))} if run_ids else {}
    return [
        FullExperiment(
            row=row,
            arms=arms[row.id],
            spent=await committed(session, job_ids(arms[row.id])),
            comparison=runs.get(row.comparison_run_id or ""),
        )
        for row in experiments
    ]


def job_ids(arms: Sequence[Arm]) -> list[str]:
    """The ids of the arms' jobs, which are their subjects in the ledger."""
    return [arm.row.job_id for arm in arms if arm.row.job_id is not None]
