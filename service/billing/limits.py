"""Sets monthly spend limits of projects and of the organisation, and starts and ends the organisation's balances.

A limit may be lowered below what is in use: new work is refused then, and running work settles as before.

The organisation's balances cost every call a second row lock that all projects share, so they are maintained only while
a limit or an alert of the organisation needs them. Starting or ending them locks `balances` in EXCLUSIVE mode, which
waits for every transaction that has locked a balance and makes new ones wait: so their initial sums are exact.
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


async def remove_project_limit(session: AsyncSession, project: Project) -> None:
    """Remove a project's limit. Raises `NotFound` when there is none."""
    if project.spend_limit_micros is None:
        raise no_limit("The project has no spend limit.")
    project.spend_limit_micros = None
    await session.flush()


async def set_organization_limit(session: AsyncSession, limit_micros: int) -> None:
    """Set or replace the limit over all projects. Needs the admin's scope, since it sums the balances of all."""
    await start_organization_balances(session)
    await session.execute(update(OrganizationSpending).values(spend_limit_micros=limit_micros))


async def remove_organization_limit(session: AsyncSession) -> None:
    """Remove the organisation's limit. Raises `NotFound` when there is none."""
    await lock_all_balances(session)
    if await organization_limit(session) is None:
        raise no_limit("The organization has no spend limit.")
    await session.execute(update(OrganizationSpending).values(spend_limit_micros=None))
    await stop_unused_organization_balances(session)


async def organization_limit(session: AsyncSession) -> int | None:
    """The organisation's limit in micro-dollars, if it has one."""
    return await session.scalar(select(OrganizationSpending.spend_limit_micros))


async def start_organization_balances(session: AsyncSession) -> None:
    """Start to maintain the organisation's balances, from the sums of all projects; no-op if they are maintained.

    Needs the admin's scope.
    """
    await lock_all_balances(session)
    if await session.scalar(select(OrganizationSpending.maintained)):
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
    await session.execute(update(OrganizationSpending).values(maintained=True))


async def stop_unused_organization_balances(session: AsyncSession) -> None:
    """Stop maintaining the organisation's balances if neither a limit nor an alert needs them."""
    await lock_all_balances(session)
    stopped = await session.scalar(
        update(OrganizationSpending)
        .where(OrganizationSpending.spend_limit_micros.is_(None), ~exists(select(OrganizationSpendAlert.id)))
        .values(maintained=False)
        .returning(OrganizationSpending.id)
    )
    if stopped is not None:
        await session.execute(delete(OrganizationBalance))


async def lock_all_balances(session: AsyncSession) -> None:
    """Prevent changes of all balances until the transaction ends. Raises `Unavailable` after waiting five seconds."""
    await session.execute(text("SET LOCAL lock_timeout = '5s'"))
    try:
        await session.execute(text("LOCK TABLE balances IN EXCLUSIVE MODE"))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE:
            raise Unavailable("The balances are busy. Try again in a moment.", retry_after_seconds=1) from None
        raise


def no_limit(message: str) -> NotFound:
    """The error of reading or removing a limit that is not set."""
    return NotFound(f"{message} POST one to set it.", code="spend_limit_not_found")
