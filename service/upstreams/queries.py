"""Reads upstream accounts: which of them a project may use, and which can train a model now.

A project sees shared accounts and its own. Row-level security enforces this in a project's scope; the queries repeat
the condition for the workers' scope, which bypasses it.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, bindparam, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import BaseModel, Catalogue
from service.database.reads import Query, Reader, columns
from service.database.tables import Job, Model, UpstreamAccount
from service.errors import NotFound, unknown_cursor
from service.http.wire_types import PageQuery
from service.identity.model_access import usable
from service.states import UpstreamKind, UpstreamProvider
from service.upstreams.capabilities import NO_NEEDS, Needs, matches, reason_not_served, serves, unsupported_feature

UNKNOWN = ""
"""An id that no account has, for a tuned model that does not exist."""

NO_ACCOUNT = "No upstream account serves this model."


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Accounts that can train a model for a project, the project's own first, and why the others cannot.

    `accounts` may take a job now. `waiting` could, but are cooling down or drained. `unable` has, for each account that
    serves the model and does not support what the job requires, what it cannot do and the request's parameter.
    `reason` is a sentence that says why `accounts` is empty.
    """

    accounts: list[UpstreamAccount]
    waiting: list[UpstreamAccount]
    unable: list[tuple[str, str]]
    reason: str


class AccountRow(NamedTuple):
    """The columns of an account that say which models it serves, by which methods, and until when."""

    id: str
    kind: UpstreamKind
    base_url: str
    provider: UpstreamProvider | None
    models: list[str] | None
    methods: list[str] | None
    listed_models: list[str] | None
    models_listed_at: dt.datetime | None
    name: str | None


def _is_usable_by(project_id: Any) -> ColumnElement[bool]:
    return or_(
        UpstreamAccount.project_id.is_(None), UpstreamAccount.project_id == project_id
    ) & UpstreamAccount.deleted_at.is_(None)


_BY_PREFERENCE = (UpstreamAccount.project_id.is_(None), UpstreamAccount.created_at, UpstreamAccount.id)

_USABLE_ACCOUNTS = Query(
    AccountRow,
    select(*columns(UpstreamAccount, AccountRow))
    .where(_is_usable_by(bindparam("project_id")))
    .order_by(*_BY_PREFERENCE),
)


async def read_usable_accounts(reader: Reader, project_id: str) -> list[AccountRow]:
    """As `usable_accounts`, for reads."""
    return await reader.all(_USABLE_ACCOUNTS, project_id=project_id)


async def candidates(
    session: AsyncSession,
    *,
    project_id: str,
    model: str,
    method_type: str,
    catalogue: Catalogue | None = None,
    today: dt.date | None = None,
    needs: Needs = NO_NEEDS,
) -> list[UpstreamAccount]:
    """The accounts that may take a job of this project for this model and method now: own first, then by age.

    Accounts that are cooling down, drained or deleted are left out. `model` is the gateway's name of a base model, or
    of a tuned model, which only the account that has it can train on. With `catalogue` the model's aliases match too;
    with `today` the providers' shutdown dates apply. `needs_of(job)` gives the job's further requirements, such as the
    account that its caller named. `offer` says why there is no account.
    """
    result = await offer(
        session,
        project_id=project_id,
        model=model,
        method_type=method_type,
        catalogue=catalogue,
        today=today,
        needs=needs,
    )
    return result.accounts


def needs_of(job: Job) -> Needs:
    """What a job requires of its account besides model and method."""
    return Needs(
        account_id=job.requested_account_id,
        suffix=job.suffix,
        integrations=bool(job.integrations),
        adapter=job.adapter is not None,
    )


async def offer(
    session: AsyncSession,
    *,
    project_id: str,
    model: str,
    method_type: str,
    catalogue: Catalogue | None = None,
    today: dt.date | None = None,
    needs: Needs = NO_NEEDS,
) -> Offer:
    """As `candidates`, with the reasons, for messages and for refusing a job before it costs anything."""
    now = (await session.scalars(select(func.now()))).one()
    names, base, bound_to = await _names_of(session, project_id, model, catalogue)
    accounts: list[UpstreamAccount] = []
    waiting: list[UpstreamAccount] = []
    unable: list[tuple[str, str]] = []
    reasons: list[str] = []
    for account in await usable_accounts(session, project_id):
        if (bound_to is not None and account.id != bound_to) or needs.account_id not in (None, account.id):
            continue
        if (reason := reason_not_served(account, names, base, today=today, now=now)) is not None:
            reasons.append(f"{display_name(account)}: {reason}")
        elif (cannot := unsupported_feature(account, method_type, needs)) is not None:
            unable.append(cannot)
            reasons.append(f"{display_name(account)}: it cannot {cannot[0]}")
        elif account.drained_at is not None:
            waiting.append(account)
            reasons.append(f"{display_name(account)}: it is drained")
        elif is_cooling_down(account, now):
            waiting.append(account)
            reasons.append(f"{display_name(account)}: it cools down, since {account.cool_down_reason}")
        else:
            accounts.append(account)
    explanation = f"No upstream account can take it: {'; '.join(reasons)}." if reasons else NO_ACCOUNT
    return Offer(accounts=accounts, waiting=waiting, unable=unable, reason="" if accounts else explanation)


async def usable_accounts(session: AsyncSession, project_id: str) -> Sequence[UpstreamAccount]:
    """Every account that a project may use: its own first, then the shared ones, each by age."""
    query = (
        select(UpstreamAccount)
        .where(_is_usable_by(project_id))
        .order_by(*_BY_PREFERENCE)
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(query)).all()


class _Serving(NamedTuple):
    id: str
    kind: UpstreamKind
    base_url: str
    provider: UpstreamProvider | None
    models: list[str] | None
    listed_models: list[str] | None
    models_listed_at: dt.datetime | None
    cools_down: bool | None


_SERVING = Query(
    _Serving,
    select(
        UpstreamAccount.id,
        UpstreamAccount.kind,
        UpstreamAccount.base_url,
        UpstreamAccount.provider,
        UpstreamAccount.models,
        UpstreamAccount.listed_models,
        UpstreamAccount.models_listed_at,
        UpstreamAccount.cool_down_until > func.now(),
    )
    .where(_is_usable_by(bindparam("project_id")))
    .order_by(*_BY_PREFERENCE),
)


async def inference_accounts(
    reader: Reader, project_id: str, model: str, base: BaseModel | None, now: dt.datetime
) -> Sequence[str]:
    """The accounts that may serve a base model's inference, in order of preference; those that cool down come last.

    Drained accounts are included: draining stops jobs, not inference.
    """
    accounts = await reader.all(_SERVING, project_id=project_id)
    serving = [
        account
        for account in accounts
        if (serves(account, base, now) if base is not None else matches(account.models, (model,)))
    ]
    return [account.id for account in sorted(serving, key=lambda account: bool(account.cools_down))]


async def live_accounts(session: AsyncSession) -> Sequence[UpstreamAccount]:
    """Every account that is not deleted, for periodic tasks and metrics."""
    query = select(UpstreamAccount).where(UpstreamAccount.deleted_at.is_(None)).order_by(UpstreamAccount.id)
    return (await session.scalars(query)).all()


async def stalled_jobs(session: AsyncSession) -> dict[str, int]:
    """The number of unfinished jobs of each account that have stalled."""
    rows = await session.execute(
        select(Job.account_id, func.count())
        .where(Job.due_at.is_not(None), Job.stalled_at.is_not(None))
        .group_by(Job.account_id)
    )
    return {account_id or "": count for account_id, count in rows}


async def find_account(
    session: AsyncSession, account_id: str, *, owner: str | None, any_owner: bool = False, lock: bool = False
) -> UpstreamAccount | None:
    """A live account of the project `owner`, a shared one (`owner` None), or one of any owner (`any_owner`)."""
    query = select(UpstreamAccount).where(UpstreamAccount.id == account_id, _is_visible(owner, any_owner=any_owner))
    return (await session.scalars(query.with_for_update() if lock else query)).one_or_none()


async def get_account(
    session: AsyncSession, account_id: str, *, owner: str | None, any_owner: bool = False, lock: bool = False
) -> UpstreamAccount:
    """As `find_account`. Raises `NotFound`."""
    row = await find_account(session, account_id, owner=owner, any_owner=any_owner, lock=lock)
    if row is None:
        raise NotFound(f"No such upstream account: {account_id}", param="id", code="upstream_not_found")
    return row


async def list_accounts(
    session: AsyncSession, query: PageQuery, *, owner: str | None, any_owner: bool = False
) -> Sequence[UpstreamAccount]:
    """Up to `limit + 1` accounts, newest first. Raises `InvalidRequest` for an unknown cursor."""
    return await _list(session, query, _is_visible(owner, any_owner=any_owner))


async def list_usable_accounts(session: AsyncSession, query: PageQuery, project_id: str) -> Sequence[UpstreamAccount]:
    """As `list_accounts`, of those that a project may use: its own and the shared ones."""
    return await _list(session, query, _is_usable_by(project_id))


def _is_visible(owner: str | None, *, any_owner: bool) -> ColumnElement[bool]:
    live = UpstreamAccount.deleted_at.is_(None)
    return live if any_owner else live & (UpstreamAccount.project_id == owner)


async def _list(session: AsyncSession, query: PageQuery, visible: ColumnElement[bool]) -> Sequence[UpstreamAccount]:
    table = UpstreamAccount
    statement = select(table).where(visible).order_by(table.created_at.desc(), table.id.desc())
    if query.after is not None:
        last_seen = (await session.scalars(select(table).where(table.id == query.after, visible))).one_or_none()
        if last_seen is None:
            raise unknown_cursor(query.after)
        follows = (table.created_at < last_seen.created_at) | (
            (table.created_at == last_seen.created_at) & (table.id < last_seen.id)
        )
        statement = statement.where(follows)
    return (await session.scalars(statement.limit(query.limit + 1))).all()


def is_cooling_down(account: UpstreamAccount, now: dt.datetime | None) -> bool:
    """Whether an account takes no new work at `now` (the database's time) because it cools down."""
    return account.cool_down_until is not None and now is not None and account.cool_down_until > now


def display_name(account: UpstreamAccount) -> str:
    """The name of an account in messages: its own, or its id after the name was removed."""
    return account.name or account.id


async def _names_of(
    session: AsyncSession, project_id: str, model: str, catalogue: Catalogue | None
) -> tuple[set[str], BaseModel | None, str | None]:
    """A model's names, its base model, and the id of the only account that has it, or None."""
    base = catalogue.find(model) if catalogue is not None else None
    if base is not None:
        return {model, base.name, *base.aliases}, base, None
    tuned = (await session.scalars(select(Model).where(usable(project_id), Model.name == model))).one_or_none()
    if tuned is None:
        return {model}, None, UNKNOWN if model.startswith("ft:") else None
    base = catalogue.find(tuned.base_model) if catalogue is not None else None
    names = {model, tuned.base_model} | ({base.name, *base.aliases} if base is not None else set())
    return names, base, tuned.account_id
