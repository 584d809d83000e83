"""Stops arms early by the experiment's rule: the arm's job is cancelled, and its cost so far is posted."""

from collections.abc import Sequence

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.database import leases
from service.database.leases import Claim
from service.database.tables import Experiment, ExperimentArm
from service.errors import InvalidRequest
from service.experiments.queries import Arm, FullExperiment
from service.experiments.stored import stored_request
from service.jobs.actions import request_cancel
from service.jobs.curves.curve import Curve
from service.jobs.curves.early_stopping import EarlyStopping, stop_reason
from service.jobs.training_curve import read_curve
from workers.context import Context
from workers.runs.threads import in_thread


async def stop_arms(ctx: Context, claimed: Claim[Experiment], full: FullExperiment) -> None:
    """Cancel the jobs of the running arms that the rule stops now. Raises `LeaseLost`."""
    rule = stored_request(full.row).early_stopping
    running = [arm for arm in full.arms if arm.is_running and arm.row.stopped_reason is None]
    if rule is None or not running:
        return
    async with ctx.db.worker() as session:
        curves = {arm.row.arm: await read_curve(session, arm.row.job_id or "") for arm in full.arms if arm.job}
    reasons = await in_thread(_reasons, rule, running, curves, len(full.arms))
    for arm in running:
        if (reason := reasons.get(arm.row.arm)) is not None:
            await _stop(ctx, claimed, full, arm, reason)


def _reasons(rule: EarlyStopping, running: Sequence[Arm], curves: dict[int, Curve], arms: int) -> dict[int, str | None]:
    """Why each running arm is stopped. It takes some milliseconds for each pair of arms."""
    return {
        number: stop_reason(
            rule, curves[number], [each for other, each in curves.items() if other != number and each.steps], arms=arms
        )
        for number in (arm.row.arm for arm in running)
    }


async def _stop(ctx: Context, claimed: Claim[Experiment], full: FullExperiment, arm: Arm, reason: str) -> None:
    try:
        async with ctx.db.worker() as session:
            await request_cancel(session, full.row.project_id, arm.row.job_id or "")
            await _record(session, full, arm, reason)
            await leases.write(session, claimed, {"failures": 0})
    except InvalidRequest:  # the job has ended meanwhile
        return
    fault_points.point("experiment.arm_stopped")


async def _record(session: AsyncSession, full: FullExperiment, arm: Arm, reason: str) -> None:
    table = ExperimentArm
    await session.execute(
        update(table)
        .where(table.experiment_id == full.row.id, table.arm == arm.row.arm)
        .values(stopped_reason=reason)
        .execution_options(synchronize_session=False)
    )
