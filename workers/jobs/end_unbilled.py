"""Ends jobs for which nothing is charged: those that never existed upstream."""

from sqlalchemy.ext.asyncio import AsyncSession

from service.billing import actions as billing
from service.database.leases import Claim
from service.database.tables import Job
from service.jobs.lifecycle import JobError
from service.jobs.record import apply_transition
from service.jobs.transitions import Transition
from service.limits.enforcement import settle_tokens


async def cancel_unbilled(session: AsyncSession, claimed: Claim[Job], reason: str) -> None:
    """End the job as cancelled and release its reservations of money and training tokens."""
    await release_reservations(session, claimed.row)
    await apply_transition(session, claimed, Transition.cancelled(reason=reason))


async def fail_unbilled(session: AsyncSession, claimed: Claim[Job], error: JobError) -> None:
    """End the job as failed and release its reservations of money and training tokens."""
    await release_reservations(session, claimed.row)
    await apply_transition(session, claimed, Transition.failed(error, reason=error.code))


async def release_reservations(session: AsyncSession, job: Job) -> None:
    """Settle the job's reservations of money and training tokens at nothing."""
    await settle_tokens(session, job_id=job.id, trained_tokens=0)
    await billing.settle(session, subject=job.id, actual_micros=0, quantity=0)
