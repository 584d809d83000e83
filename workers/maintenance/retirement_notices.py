"""Telling projects that a model which they have or use will be shut down: once for each of two thresholds.

The catalogue names the day at each provider. A notice and its event are one transaction under the notice's key, so
two workers, or a crash in between, tell it once.
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
"""Told when so many days or fewer are left; a project that comes late gets the nearest one only."""

USED_LATELY = dt.timedelta(days=90)
"""A project uses a base model when it has created a job for it within this time."""

MAX_LISTED = 100
"""Tuned models and aliases that one event names."""

BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """A base model on its way out at some accounts: its names, its last day, and the threshold that has been passed.

    `everywhere`: the base model itself is gone then too, since no other account has it longer.
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
    """The models that the providers of these accounts shut down soon."""
    found = (
        _retirement(model, provider, accounts_by_provider, today)
        for provider in accounts_by_provider
        for model in catalogue.models
    )
    return [retirement for retirement in found if retirement is not None]


async def announce(db: Database, catalogue: Catalogue, today: dt.date) -> int:
    """Tell every project what it has not been told. Returns how many events that made."""
    told = 0
    async with db.worker() as session:
        accounts = await _accounts(session)
    for retirement in retiring(catalogue, accounts, today):
        async with db.worker() as session:
            projects = (await session.scalars(_concerned(retirement).limit(BATCH))).all()
        for project_id in projects:
            async with db.worker() as session:
                told += await _tell(session, project_id, retirement)
    if told:
        log.info("retirements.told", events=told)
    return told


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


def _concerned(retirement: Retirement) -> Select[str]:
    """Projects with tuned models, aliases or recent jobs of the model, that have no such notice yet."""
    using = union(
        select(Model.project_id).where(_tuned_there(retirement), Model.deleted_at.is_(None)),
        select(ModelAlias.project_id).where(_is_base_of(retirement)),
        select(Job.project_id).where(
            Job.model.in_(retirement.names),
            Job.account_id.in_(retirement.accounts),
            Job.created_at > func.now() - USED_LATELY,
        ),
    ).subquery()
    known = exists().where(RetirementNotice.project_id == using.c.project_id, _same(retirement))
    return select(using.c.project_id).where(~known).order_by(using.c.project_id)


async def _tell(session: AsyncSession, project_id: str, retirement: Retirement) -> int:
    noted = await session.scalar(
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
    if noted is None:
        return 0
    tuned = (
        select(Model.name)
        .where(
            Model.project_id == project_id,
            _tuned_there(retirement),
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
    tuned = select(Model.name).where(_tuned_there(retirement))
    query = select(ModelAlias.name).where(
        ModelAlias.project_id == project_id, _is_base_of(retirement) | ModelAlias.model.in_(tuned)
    )
    return (await session.scalars(query.order_by(ModelAlias.name).limit(MAX_LISTED))).all()


def _tuned_there(retirement: Retirement) -> ColumnElement[bool]:
    return Model.base_model.in_(retirement.names) & Model.account_id.in_(retirement.accounts)


def _is_base_of(retirement: Retirement) -> ColumnElement[bool]:
    return ModelAlias.model.in_(retirement.names) if retirement.everywhere else false()


def _same(retirement: Retirement) -> ColumnElement[bool]:
    table = RetirementNotice
    same_model = (table.model == retirement.model) & (table.shutdown_date == retirement.stops)
    return same_model & (table.days == retirement.threshold_days)
