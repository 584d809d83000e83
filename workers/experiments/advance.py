"""Advances experiments: starts their arms, stops some of them early, and concludes when all have ended.

An experiment is due again when one of its jobs or its comparison has ended, in the same transaction, and every few
seconds besides.
"""

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.backoff import backoff_seconds
from service.database import leases
from service.database.leases import Claim, LeaseLost
from service.database.tables import Experiment, File
from service.errors import ApiError, InFlight, QuotaExceeded
from service.experiments.queries import FullExperiment, read_full
from service.experiments.record import end
from service.experiments.stored import stored_settings
from service.jobs.actions import request_cancel
from service.runs.actions import cancel_run
from service.runs.record import RunError
from service.storage import StorageUnavailable
from workers.context import Context
from workers.datasets.retry_policy import STORE_UNAVAILABLE, STORE_UNAVAILABLE_SECONDS
from workers.experiments.arms import Waits, skip, start_arm
from workers.experiments.conclude import conclude
from workers.experiments.early_stopping import stop_arms
from workers.experiments.shares import make_share

log = structlog.get_logger()

RECHECK_SECONDS = 5.0
BRIEF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 60.0
MAX_CRASHES = 20
"""After as many internal errors in a row an experiment fails, a quarter of an hour after the first one."""

INTERNAL_ERROR = "An internal error; it is attempted again. The platform team can find its cause by the id."


async def advance(ctx: Context, claimed: Claim[Experiment]) -> None:
    """One step of a claimed experiment. A step that fails is repeated after a growing pause, and says why."""
    structlog.contextvars.bind_contextvars(experiment_id=claimed.row.id, project_id=claimed.row.project_id)
    try:
        async with leases.heartbeat(ctx.db, claimed):
            await _step(ctx, claimed)
    except LeaseLost:
        raise
    except InFlight as pending:
        await _give_back(ctx, claimed, pending.message, BRIEF_SECONDS)
    except StorageUnavailable as error:
        log.warning("experiment.storage_unavailable", error=str(error))
        await _give_back(ctx, claimed, STORE_UNAVAILABLE, STORE_UNAVAILABLE_SECONDS)
    except ApiError as error:
        await _retry_later(ctx, claimed, error.message)
    except Exception as error:
        failures = claimed.row.failures + 1
        log.error("experiment.step_failed", failures=failures, exc_info=error)
        if failures >= MAX_CRASHES and claimed.row.waiting_reason == INTERNAL_ERROR:
            await _fail(ctx, claimed)
        else:
            await _retry_later(ctx, claimed, INTERNAL_ERROR)


async def _step(ctx: Context, claimed: Claim[Experiment]) -> None:
    full = await _read(ctx, claimed)
    if full.row.cancel_requested_at is not None:
        await _cancel(ctx, claimed, full)
    elif any(arm.is_open or arm.is_running for arm in full.arms):
        await stop_arms(ctx, claimed, full)
        await _start_arms(ctx, claimed, full)
    else:
        await conclude(ctx, claimed, full)


async def _cancel(ctx: Context, claimed: Claim[Experiment], full: FullExperiment) -> None:
    """Cancel the arms' jobs, and end the experiment once all of them have ended."""
    async with ctx.db.worker() as session:
        if running := await _cancel_work(session, full):
            reason = f"{running} of its jobs have not ended yet."
            await leases.give_back(session, claimed, {"waiting_reason": reason}, due_in_seconds=RECHECK_SECONDS)
        else:
            await end(session, claimed, "cancelled", {})
    fault_points.point("experiment.cancelled")


async def _fail(ctx: Context, claimed: Claim[Experiment]) -> None:
    """Fail the experiment, and cancel its jobs and its comparison."""
    full = await _read(ctx, claimed)
    error = RunError(
        code="experiment_crashed",
        message=f"Its step failed {MAX_CRASHES} times in a row by an internal error, so its jobs are cancelled.",
    )
    async with ctx.db.worker() as session:
        await _cancel_work(session, full)
        await end(session, claimed, "failed", {}, error=error)


async def _cancel_work(session: AsyncSession, full: FullExperiment) -> int:
    """Request the cancel of the comparison and of the jobs that have not ended. Returns the number of these jobs."""
    running = [arm for arm in full.arms if arm.is_running]
    if full.comparison is not None and full.comparison.finished_at is None:
        await cancel_run(session, full.row.project_id, "comparison", full.comparison.id)
    for arm in running:
        await request_cancel(session, full.row.project_id, arm.row.job_id or "")
    return len(running)


async def _start_arms(ctx: Context, claimed: Claim[Experiment], full: FullExperiment) -> None:
    """Start arms while `max_parallel` and the budget allow it, in order. One that has to wait delays those after it."""
    while (arm := next((each for each in full.arms if each.is_open), None)) is not None:
        if sum(each.is_running for each in full.arms) >= full.row.max_parallel:
            break
        if await _lacks_share(ctx, claimed, full, arm.row.arm):
            full = await _read(ctx, claimed)
            continue
        outcome = await start_arm(ctx, claimed, full, arm)
        if isinstance(outcome, Waits):
            seconds = BRIEF_SECONDS if outcome.briefly else RECHECK_SECONDS
            await _give_back(ctx, claimed, outcome.reason, seconds)
            return
        full = await _read(ctx, claimed)
    seconds = RECHECK_SECONDS if any(each.is_running for each in full.arms) else 0.0
    await _give_back(ctx, claimed, _paused(full), seconds)


def _paused(full: FullExperiment) -> str | None:
    """Why the experiment waits for its caller: all jobs that have not ended are paused."""
    running = [arm for arm in full.arms if arm.is_running]
    if not running or any(arm.job is None or not arm.job.pause_requested for arm in running):
        return None
    numbers = ", ".join(str(arm.row.arm) for arm in running)
    return f"A caller has paused every job that has not ended (arm {numbers}). Resume or cancel them."


async def _lacks_share(ctx: Context, claimed: Claim[Experiment], full: FullExperiment, number: int) -> bool:
    """Make the file with the arm's share of the data if it has none yet; false if none is needed."""
    arm = next(each for each in full.arms if each.row.arm == number)
    settings = stored_settings(arm.row)
    if settings.data_share >= 1.0 or arm.row.training_file_id is not None:
        return False
    alike = [
        each.row.arm
        for each in full.arms
        if (same := stored_settings(each.row)).data_share == settings.data_share and same.seed == settings.seed
    ]
    async with ctx.db.worker() as session:
        training = await session.get_one(File, full.row.training_file_id)
    try:
        await make_share(ctx, claimed, training, alike, share=settings.data_share, seed=settings.seed)
    except QuotaExceeded as refused:
        await skip(ctx, claimed, alike, refused.message)
    except FileNotFoundError:
        await skip(ctx, claimed, alike, "The content of the training file is lost. Upload it again.")
    return True


async def _read(ctx: Context, claimed: Claim[Experiment]) -> FullExperiment:
    """The experiment as it is now; jobs may have ended since the claim."""
    async with ctx.db.worker() as session:
        row = await session.get_one(Experiment, claimed.row.id)
        [full] = await read_full(session, [row])
    return full


async def _give_back(ctx: Context, claimed: Claim[Experiment], reason: str | None, seconds: float) -> None:
    async with ctx.db.worker() as session:
        values = {"waiting_reason": reason, "failures": 0}
        await leases.give_back(session, claimed, values, due_in_seconds=seconds)


async def _retry_later(ctx: Context, claimed: Claim[Experiment], reason: str) -> None:
    seconds = backoff_seconds(claimed.row.failures, max_seconds=MAX_BACKOFF_SECONDS)
    async with ctx.db.worker() as session:
        values = {"waiting_reason": reason, "failures": claimed.row.failures + 1}
        await leases.give_back(session, claimed, values, due_in_seconds=seconds)
