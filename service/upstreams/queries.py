"""Upstream accounts: who may use which, and which of them can train a model now.

A project sees shared accounts and its own; row-level security holds it to that in a project's scope, and the queries
say it again for the workers' scope.
"""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import BaseModel, Catalogue
from service.database.tables import Job, Model, UpstreamAccount
from service.errors import NotFound, unknown_cursor
from service.http.wire_types import PageQuery
from service.identity.model_access import usable
from service.upstreams.capabilities import NOTHING_MORE, Needs, matches, unserved, unsupported

UNKNOWN = ""
"""The account of a tuned model that nobody knows: none."""

NO_ACCOUNT = "No upstream account serves this model."


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Accounts that can train a model for a project, the project's own first, and why the others cannot.

    `accounts` may take a job now. `waiting` could, but are held or drained. `unable` are those that serve the model
    and cannot do what the job wants, with (what, parameter). `reason` says in words why `accounts` is empty.
    """

    accounts: list[UpstreamAccount]
    waiting: list[UpstreamAccount]
    unable: list[tuple[str, str]]
    reason: str


async def candidates(
    session: AsyncSession,
    *,
    project_id: str,
    model: str,
    method_type: str,
    catalogue: Catalogue | None = None,
    today: dt.date | None = None,
    needs: Needs = NOTHING_MORE,
) -> list[UpstreamAccount]:
    """The accounts that may take a job of this project for this model and method now: own first, then by age.

    Held, drained and deleted ones are left out. `model` is our name: a base model's, or a tuned model's, which only
    the account that has it can train on. With `catalogue` its aliases count, with `today` the providers' shutdown
    dates too. `needs_of(job)` gives what else a job wants, first of all the account that its caller named.
    `offer` says why there is none.
    """
    found = await offer(
        session,
        project_id=project_id,
        model=model,
        method_type=method_type,
        catalogue=catalogue,
        today=today,
        needs=needs,
    )
    return found.accounts


def needs_of(job: Job) -> Needs:
    """What a job wants of its account besides model and method."""
    return Needs(account_id=job.requested_account_id, suffix=job.suffix, integrations=bool(job.integrations))


async def offer(
    session: AsyncSession,
    *,
    project_id: str,
    model: str,
    method_type: str,
    catalogue: Catalogue | None = None,
    today: dt.date | None = None,
    needs: Needs = NOTHING_MORE,
) -> Offer:
    """The same with the reasons: for messages, and for refusing before the spend."""
    now = await session.scalar(select(func.now()))
    names, base, only = await _known(session, project_id, model, catalogue)
    accounts: list[UpstreamAccount] = []
    waiting: list[UpstreamAccount] = []
    unable: list[tuple[str, str]] = []
    reasons: list[str] = []
    for account in await usable_accounts(session, project_id):
        if (only is not None and account.id != only) or needs.account_id not in (None, account.id):
            continue
        if (why := unserved(account, names, base, today)) is not None:
            reasons.append(f"{shown_name(account)}: {why}")
        elif (cannot := unsupported(account, method_type, needs)) is not None:
            unable.append(cannot)
            reasons.append(f"{shown_name(account)}: it cannot {cannot[0]}")
        elif account.drained_at is not None:
            waiting.append(account)
            reasons.append(f"{shown_name(account)}: it is drained")
        elif is_held(account, now):
            waiting.append(account)
            reasons.append(f"{shown_name(account)}: it is held, since {account.cool_down_reason}")
        else:
            accounts.append(account)
    reason = "" if accounts else f"No upstream account can take it: {'; '.join(reasons)}." if reasons else NO_ACCOUNT
    return Offer(accounts=accounts, waiting=waiting, unable=unable, reason=reason)


async def usable_accounts(session: AsyncSession, project_id: str) -> Sequence[UpstreamAccount]:
    """Every account that a project may use: its own first, then the shared ones, each by age."""
    query = (
        select(UpstreamAccount)
        .where(
            or_(UpstreamAccount.project_id.is_(None), UpstreamAccount.project_id == project_id),
            UpstreamAccount.deleted_at.is_(None),
        )
        .order_by(UpstreamAccount.project_id.is_(None), UpstreamAccount.created_at, UpstreamAccount.id)
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(query)).all()


async def inference_accounts(
    session: AsyncSession, project_id: str, names: Collection[str]
) -> Sequence[UpstreamAccount]:
    """The accounts that may be asked for a base model, in the order of preference; held ones last, drained ones too."""
    now = await session.scalar(select(func.now()))
    found = [account for account in await usable_accounts(session, project_id) if matches(account.models, names)]
    return sorted(found, key=lambda account: is_held(account, now))


async def live_accounts(session: AsyncSession) -> Sequence[UpstreamAccount]:
    """Every account that is not deleted, for the workers' rounds."""
    query = select(UpstreamAccount).where(UpstreamAccount.deleted_at.is_(None)).order_by(UpstreamAccount.id)
    return (await session.scalars(query)).all()


async def stalled_jobs(session: AsyncSession) -> dict[str, int]:
    """How many jobs of each account have stalled and not ended."""
    rows = await session.execute(
        select(Job.account_id, func.count())
        .where(Job.due_at.is_not(None), Job.stalled_at.is_not(None))
        .group_by(Job.account_id)
    )
    return {account_id or "": count for account_id, count in rows}


async def find_account(
    session: AsyncSession, account_id: str, *, owner: str | None, every: bool = False, lock: bool = False
) -> UpstreamAccount | None:
    """An account of a project (`owner`), or with `every` of anybody, unless it is deleted."""
    query = select(UpstreamAccount).where(UpstreamAccount.id == account_id, UpstreamAccount.deleted_at.is_(None))
    if not every:
        query = query.where(UpstreamAccount.project_id == owner)
    return (await session.scalars(query.with_for_update() if lock else query)).one_or_none()


async def get_account(
    session: AsyncSession, account_id: str, *, owner: str | None, every: bool = False, lock: bool = False
) -> UpstreamAccount:
    """The same, or `NotFound`."""
    row = await find_account(session, account_id, owner=owner, every=every, lock=lock)
    if row is None:
        raise NotFound(f"No such upstream account: {account_id}", param="id", code="upstream_not_found")
    return row


async def list_accounts(
    session: AsyncSession, query: PageQuery, *, owner: str | None, every: bool = False
) -> Sequence[UpstreamAccount]:
    """Up to `limit + 1` accounts, newest first. Raises `InvalidRequest` for an unknown cursor."""
    table = UpstreamAccount
    wanted = select(table).where(table.deleted_at.is_(None))
    if not every:
        wanted = wanted.where(table.project_id == owner)
    wanted = wanted.order_by(table.created_at.desc(), table.id.desc())
    if query.after is not None:
        known = await find_account(session, query.after, owner=owner, every=every)
        if known is None:
            raise unknown_cursor(query.after)
        later = (table.created_at < known.created_at) | ((table.created_at == known.created_at) & (table.id < known.id))
        wanted = wanted.where(later)
    return (await session.scalars(wanted.limit(query.limit + 1))).all()


def is_held(account: UpstreamAccount, now: dt.datetime | None) -> bool:
    """Whether an account takes no new work at `now`, the database's time."""
    return account.cool_down_until is not None and now is not None and account.cool_down_until > now


def shown_name(account: UpstreamAccount) -> str:
    """What people call an account."""
    return account.name or account.id


async def _known(
    session: AsyncSession, project_id: str, model: str, catalogue: Catalogue | None
) -> tuple[set[str], BaseModel | None, str | None]:
    """A model's names, its base model, and the account that it is bound to."""
    base = catalogue.find(model) if catalogue is not None else None
    if base is not None:
        return {model, base.name, *base.aliases}, base, None
    tuned = (await session.scalars(select(Model).where(usable(project_id), Model.name == model))).one_or_none()
    if tuned is None:
        return {model}, None, UNKNOWN if model.startswith("ft:") else None
    base = catalogue.find(tuned.base_model) if catalogue is not None else None
    names = {model, tuned.base_model} | ({base.name, *base.aliases} if base is not None else set())
    return names, base, tuned.account_id
