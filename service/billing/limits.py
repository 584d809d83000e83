"""Monthly spend limits, of projects and of the organisation, and the keeping of the organisation's balances.

A limit may be lowered below what is in use: new work is refused then, and what runs settles as if nothing had been.

The organisation's balances cost every call a second row lock, shared by all projects, so they are kept only while a
limit or an alert of the organisation needs them. Whoever begins or ends that takes `balances` in EXCLUSIVE mode, which
waits for every transaction that has locked a balance and keeps new ones waiting: the sums are exact when they begin.
"""

from sqlalchemy import delete, exists, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import Balance, OrganizationBalance, OrganizationSpendAlert, OrganizationSpending, Project
from service.errors import NotFound, Unavailable

LOCK_NOT_AVAILABLE = "55P03"


async def set_project_limit(session: AsyncSession, project: Project, limit_micros: int) -> None:
    """Set or replace a project's limit, from the next reservation on."""
    project.spend_limit_micros = limit_micros
    await session.flush()


async def lift_project_limit(session: AsyncSession, project: Project) -> None:
    """Take a project's limit away. Raises `NotFound` when there is none."""
    if project.spend_limit_micros is None:
        raise no_limit("The project has no spend limit.")
    project.spend_limit_micros = None
    await session.flush()


async def set_organization_limit(session: AsyncSession, limit_micros: int) -> None:
    """Set or replace the limit over all projects. In the admin's scope, since it sums what all have spent."""
    await keep_organization(session)
    await session.execute(update(OrganizationSpending).values(spend_limit_micros=limit_micros))


async def lift_organization_limit(session: AsyncSession) -> None:
    """Take the organisation's limit away. Raises `NotFound` when there is none."""
    await stop_movements(session)
    if await organization_limit(session) is None:
        raise no_limit("The organization has no spend limit.")
    await session.execute(update(OrganizationSpending).values(spend_limit_micros=None))
    await leave_organization(session)


async def organization_limit(session: AsyncSession) -> int | None:
    """The organisation's limit in micro-dollars, if it has one."""
    return await session.scalar(select(OrganizationSpending.spend_limit_micros))


async def keep_organization(session: AsyncSession) -> None:
    """Begin to keep the organisation's balances, from the sums of now on; kept ones go on. In the admin's scope."""
    await stop_movements(session)
    if await session.scalar(select(OrganizationSpending.kept)):
        return
    sums = select(
        Balance.month,
        func.sum(Balance.reserved_micros),
        func.sum(Balance.spent_micros),
        func.sum(Balance.overage_micros),
    ).group_by(Balance.month)
    await session.execute(
        insert(OrganizationBalance).from_select(
            ["month", "reserved_micros", "spent_micros", "overage_micros"], sums, include_defaults=False
        )
    )
    await session.execute(update(OrganizationSpending).values(kept=True))


async def leave_organization(session: AsyncSession) -> None:
    """Stop keeping the organisation's balances when neither a limit nor an alert needs them."""
    await stop_movements(session)
    unneeded = await session.scalar(
        update(OrganizationSpending)
        .where(OrganizationSpending.spend_limit_micros.is_(None), ~exists(select(OrganizationSpendAlert.id)))
        .values(kept=False)
        .returning(OrganizationSpending.id)
    )
    if unneeded is not None:
        await session.execute(delete(OrganizationBalance))


async def stop_movements(session: AsyncSession) -> None:
    """Let no balance move until the end of the transaction. Raises `Unavailable` where they move without a pause."""
    await session.execute(text("SET LOCAL lock_timeout = '5s'"))
    try:
        await session.execute(text("LOCK TABLE balances IN EXCLUSIVE MODE"))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE:
            raise Unavailable("The balances are busy. Try again in a moment.", retry_after_seconds=1) from None
        raise


def no_limit(message: str) -> NotFound:
    """The answer where there is no limit to show or to lift."""
    return NotFound(f"{message} POST one to set it.", code="spend_limit_not_found")
