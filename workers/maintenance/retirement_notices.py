"""Notifies projects that a model which they have or use will be shut down: once for each of two thresholds.

The catalogue has the shutdown date at each provider. A notice's row and its event are one transaction, and the row's
key is unique, so that neither a second worker nor a crash sends a notice twice.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import ColumnElement, Select, exists, false, func, select, union
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import BaseModel, Catalogue
from service.database.engine import Database
from service.database.tables import Job, Model, ModelAlias, RetirementNotice, UpstreamAccount
from service.upstreams.capabilities import provider_at, shutdown_of
from service.webhooks import outbox

log = structlog.get_logger()

THRESHOLDS_DAYS = (7, 30)
"""A notice is sent when this many days or fewer are left; a project that joins late gets the nearest one only."""

RECENT_USE = dt.timedelta(days=90)
"""A project uses a base model if it has created a job with it within this time."""

MAX_LISTED = 100
"""Maximum number of tuned models, and of aliases, in one event."""

BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """The shutdown of a base model at some accounts, with its date and the threshold that has been passed.

    `everywhere`: no account offers the base model after that date.
    """

    model: str
    names: tuple[str, ...]
    accounts: tuple[str, ...]
    everywhere: bool
    stops: dt.date
    days_left: int
    threshold_days: int


def retiring(
    catalogue: Catalogue, accounts_by_provider: Mapping[str, Sequence[str]], today: dt.date
) -> list[Retirement]:
    """The upcoming shutdowns at the providers of these accounts."""
    found = (
        _retirement(model, provider, accounts_by_provider, today)
        for provider in accounts_by_provider
        for model in catalogue.models
    )
    return [retirement for retirement in found if retirement is not None]


async def send_notices(db: Database, catalogue: Catalogue, today: dt.date) -> int:
    """Send every notice that is due and was not sent yet. Returns their number."""
    sent = 0
    async with db.worker() as session:
        accounts = await _accounts(session)
    for retirement in retiring(catalogue, accounts, today):
        async with db.worker() as session:
            projects = (await session.scalars(_projects_to_notify(retirement).limit(BATCH))).all()
        for project_id in projects:
            async with db.worker() as session:
                sent += await _send(session, project_id, retirement)
    if sent:
        log.info("retirement_notices.sent", notices=sent)
    return sent


async def _accounts(session: AsyncSession) -> Mapping[str, Sequence[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in await session.scalars(select(UpstreamAccount).where(UpstreamAccount.deleted_at.is_(None))):
        found[provider_at(row)].append(row.id)
    return found


def _retirement(
    model: BaseModel, provider: str, accounts_by_provider: Mapping[str, Sequence[str]], today: dt.date
) -> Retirement | None:
    shutdown = model.shutdown_at(provider)
    if shutdown is None or today > shutdown.stops:
        return None
    days_left = (shutdown.stops - today).days
    passed = [days for days in THRESHOLDS_DAYS if days_left <= days]
    if not passed:
        return None
    return Retirement(
        model=model.name,
        names=(model.name, *model.aliases),
        accounts=tuple(accounts_by_provider[provider]),
        everywhere=shutdown_of(model, accounts_by_provider.keys()) == shutdown,
        stops=shutdown.stops,
        days_left=days_left,
        threshold_days=min(passed),
    )


def _projects_to_notify(retirement: Retirement) -> Select[str]:
    """Projects with tuned models, aliases or recent jobs of the model that have not been sent this notice."""
    using = union(
        select(Model.project_id).where(_tuned_at_accounts(retirement), Model.deleted_at.is_(None)),
        select(ModelAlias.project_id).where(_is_base_of(retirement)),
        select(Job.project_id).where(
            Job.model.in_(retirement.names),
            Job.account_id.in_(retirement.accounts),
            Job.created_at > func.now() - RECENT_USE,
        ),
    ).subquery()
    notified = exists().where(RetirementNotice.project_id == using.c.project_id, _same(retirement))
    return select(using.c.project_id).where(~notified).order_by(using.c.project_id)


async def _send(session: AsyncSession, project_id: str, retirement: Retirement) -> int:
    added = await session.scalar(
        insert(RetirementNotice)
        .values(
            project_id=project_id,
            model=retirement.model,
            shutdown_date=retirement.stops,
            days=retirement.threshold_days,
        )
        .on_conflict_do_nothing()
        .returning(RetirementNotice.project_id)
    )
    if added is None:
        return 0
    tuned = (
        select(Model.name)
        .where(
            Model.project_id == project_id,
            _tuned_at_accounts(retirement),
            Model.kind == "model",
            Model.deleted_at.is_(None),
        )
        .order_by(Model.created_at.desc(), Model.name)
        .limit(MAX_LISTED)
    )
    await outbox.emit(
        session,
        project_id=project_id,
        type="model.retiring",
        subject=retirement.model,
        data={
            "project_id": project_id,
            "shutdown_date": retirement.stops.isoformat(),
            "days_left": retirement.days_left,
            "fine_tuned_models": list(await session.scalars(tuned)),
            "aliases": list(await _aliases_on(session, project_id, retirement)),
        },
        now=dt.datetime.now(dt.UTC),
    )
    return 1


async def _aliases_on(session: AsyncSession, project_id: str, retirement: Retirement) -> Sequence[str]:
    tuned = select(Model.name).where(_tuned_at_accounts(retirement))
    query = select(ModelAlias.name).where(
        ModelAlias.project_id == project_id, _is_base_of(retirement) | ModelAlias.model.in_(tuned)
    )
    return (await session.scalars(query.order_by(ModelAlias.name).limit(MAX_LISTED))).all()


def _tuned_at_accounts(retirement: Retirement) -> ColumnElement[bool]:
    return Model.base_model.in_(retirement.names) & Model.account_id.in_(retirement.accounts)


def _is_base_of(retirement: Retirement) -> ColumnElement[bool]:
    return ModelAlias.model.in_(retirement.names) if retirement.everywhere else false()


def _same(retirement: Retirement) -> ColumnElement[bool]:
    table = RetirementNotice
    same_model = (table.model == retirement.model) & (table.shutdown_date == retirement.stops)
    return same_model & (table.days == retirement.threshold_days)
