"""The ledger on a real Postgres against a simple model: any order of reservations, settlements, retries, limits of
projects and of the organisation, alerts, and months.
"""

import asyncio
import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from cli.embedded import OWNER, SERVICE
from service.billing import actions as billing
from service.billing import alert_queries, limits
from service.billing.actions import Actual, Reservation
from service.billing.audit import ledger_snapshot, prove
from service.database.engine import Database, create_engine
from service.database.tables import Balance, OrganizationBalance, Project, WebhookEvent
from service.wakeups import Wakeups
from tests.stack import Servers

T = TypeVar("T")

PROJECTS = ("proj_one", "proj_two")
MONTHS = tuple(dt.date(2026, month, 1) for month in (10, 11, 12))
amounts = st.integers(0, 400)
projects = st.sampled_from(PROJECTS)
thresholds = st.integers(1, 1_200)


@pytest.fixture(scope="module")
def urls(servers: Servers) -> Iterator[tuple[str, str]]:
    """A database for the service, and for its owner."""
    with servers.fresh_database() as name:
        yield servers.postgres.url(SERVICE, name), servers.postgres.url(OWNER, name)


@dataclass
class Sums:
    """A month in the model."""

    reserved: int = 0
    spent: int = 0
    overage: int = 0

    @property
    def in_use(self) -> int:
        return self.reserved + self.spent + self.overage


@dataclass
class Subject:
    """What has reserved."""

    project: str
    month: dt.date
    amount: int
    resolved: bool = False


@dataclass
class Alert:
    """A threshold, and the highest one that was notified, by month."""

    project: str | None
    threshold: int
    reported: dict[dt.date, int] = field(default_factory=dict)


class Books(RuleBasedStateMachine):
    """Everything runs twice, in Postgres and in a few dicts, and must agree."""

    urls: tuple[str, str]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.db = self.loop.run(self._open())
        self.month = MONTHS[0]
        self.limits: dict[str, int | None] = dict.fromkeys(PROJECTS)
        self.shared_limit: int | None = None
        self.sums: defaultdict[tuple[str, dt.date], Sums] = defaultdict(Sums)
        self.subjects: dict[str, Subject] = {}
        self.alerts: dict[str, Alert] = {}
        self.events: Counter[str] = Counter()

    async def _open(self) -> Database:
        owner = create_engine(self.urls[1], pool_size=1, role=None)
        async with owner.begin() as connection:
            await connection.execute(
                text(
                    "TRUNCATE projects, balances, ledger_entries, organization_balances, organization_spend_alerts,"
                    " spend_alerts, webhook_events CASCADE"
                )
            )
            await connection.execute(text("UPDATE organization_spending SET kept = false, spend_limit_micros = NULL"))
        await owner.dispose()
        db = Database(create_engine(self.urls[0], pool_size=1), Wakeups(""))
        async with db.admin() as session:
            session.add_all([Project(id=name, name=name) for name in PROJECTS])
        return db

    def teardown(self) -> None:
        """What is left is proved, too."""
        self.loop.run(self._prove())
        self.loop.close()

    async def _prove(self) -> None:
        await self.db.close()
        async with ledger_snapshot(self.urls[0]) as session:
            proof = await prove(session)
        broken = {finding.check for finding in proof.findings if finding.drifts}
        assert broken <= {"open"}, "subjects of this test are no jobs, so that check finds them"

    def admin(self, act: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """One transaction of the organisation's API."""

        async def run() -> T:
            async with self.db.admin() as session:
                return await act(session)

        return self.loop.run(run())

    def of(self, project: str, act: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """One transaction of a project."""

        async def run() -> T:
            async with self.db.project(project) as session:
                return await act(session)

        return self.loop.run(run())

    def room(self, project: str, month: dt.date) -> int | None:
        """What the model says may still be reserved."""
        own, shared = self.limits[project], self.shared_limit
        whole = sum(self.sums[name, month].in_use for name in PROJECTS)
        left = [max(0, own - self.sums[project, month].in_use)] if own is not None else []
        left += [max(0, shared - whole)] if shared is not None else []
        return min(left, default=None)

    @initialize(limit=st.none() | st.integers(0, 1_500), shared=st.none() | st.integers(0, 2_000))
    def begin(self, limit: int | None, shared: int | None) -> None:
        """Limits from the start make the interesting cases common."""
        self.change_limit(PROJECTS[0], limit)
        self.change_shared_limit(shared)

    @rule(project=projects, wanted=st.lists(amounts, min_size=1, max_size=4))
    def reserve(self, project: str, wanted: list[int]) -> None:
        """One alone, or several together."""
        month = self.month
        names = [f"subject-{len(self.subjects) + place}" for place in range(len(wanted))]
        expected = []
        for name, amount in zip(names, wanted, strict=True):
            room = self.room(project, month)
            fits = room is None or amount <= room
            expected.append(fits)
            self.subjects[name] = Subject(project, month, amount, resolved=not fits)
            if fits:
                self.sums[project, month].reserved += amount
            else:
                del self.subjects[name]
                self.subjects[f"refused-{name}"] = Subject(project, month, amount, resolved=True)
        reservations = [
            Reservation(subject=name, line_item="x", amount_micros=amount)
            for name, amount in zip(names, wanted, strict=True)
        ]
        if len(reservations) == 1:
            granted = [
                self.of(
                    project,
                    lambda session: billing.reserve(
                        session,
                        project_id=project,
                        subject=names[0],
                        line_item="x",
                        amount_micros=wanted[0],
                        month=month,
                    ),
                )
            ]
        else:
            granted = self.of(project, lambda session: billing.reserve_all(session, project, month, reservations))
        assert granted == expected

    @rule(data=st.data())
    def reserve_again(self, data: st.DataObject) -> None:
        """A retry is answered yes and changes nothing, whatever the limit is now."""
        known = [name for name in self.subjects if not name.startswith("refused")]
        if known:
            name = data.draw(st.sampled_from(known))
            subject = self.subjects[name]
            assert self.of(
                subject.project,
                lambda session: billing.reserve(
                    session,
                    project_id=subject.project,
                    subject=name,
                    line_item="x",
                    amount_micros=subject.amount,
                    month=subject.month,
                ),
            )

    @rule(data=st.data(), actuals=st.lists(st.integers(0, 700), min_size=1, max_size=4))
    def settle(self, data: st.DataObject, actuals: list[int]) -> None:
        """Some of any month, resolved ones and unknown ones among them."""
        names = data.draw(st.lists(st.sampled_from([*self.subjects, "nobody"]), max_size=len(actuals), unique=True))
        known = {name: self.subjects.get(name) for name in names}
        given = dict(zip(names, actuals, strict=False))
        order = sorted(
            (name for name, subject in known.items() if subject is not None and not subject.resolved),
            key=lambda name: (self.subjects[name].month, self.subjects[name].project),
        )

        async def act(session: AsyncSession) -> set[str]:
            return await billing.settle_all(
                session, [Actual(subject=name, micros=micros, quantity=None) for name, micros in given.items()]
            )

        before = {key: Sums(**vars(sums)) for key, sums in self.sums.items()}
        assert self.admin(act) == set(order)
        spent = self.read()
        for name in order:
            subject = self.subjects[name]
            subject.resolved = True
            self.sums[subject.project, subject.month].reserved -= subject.amount
        for key in {(self.subjects[name].project, self.subjects[name].month) for name in order}:
            cost = sum(given[name] for name in order if (self.subjects[name].project, self.subjects[name].month) == key)
            old = before[key]
            new = spent[key]
            assert new.spent + new.overage == old.spent + old.overage + cost, "every micro-dollar is somewhere"
            beyond = sum(
                max(0, given[name] - self.subjects[name].amount)
                for name in order
                if (self.subjects[name].project, self.subjects[name].month) == key
            )
            assert 0 <= new.overage - old.overage <= beyond, "only what was not reserved can be over a limit"
            if self.limits[key[0]] is None and self.shared_limit is None:
                assert new.overage == old.overage
            self.sums[key].spent, self.sums[key].overage = new.spent, new.overage
        self.expect_events({key[1]: key[0] for key in self.keys_of(order)}, self.keys_of(order))

    def keys_of(self, names: list[str]) -> list[tuple[str, dt.date]]:
        """The months of projects that subjects belong to."""
        return [(self.subjects[name].project, self.subjects[name].month) for name in names]

    def expect_events(self, months: dict[dt.date, str], keys: list[tuple[str, dt.date]]) -> None:
        """Which alerts a settlement of these months tells."""
        for alert_id, alert in self.alerts.items():
            touched = set(months) if alert.project is None else {month for name, month in keys if name == alert.project}
            for month in touched:
                names = PROJECTS if alert.project is None else (alert.project,)
                posted = sum(self.sums[name, month].spent + self.sums[name, month].overage for name in names)
                if posted >= alert.threshold > alert.reported.get(month, -1):
                    alert.reported[month] = alert.threshold
                    self.events[alert_id] += 1

    @rule(project=projects, limit=st.none() | st.integers(0, 1_500))
    def change_limit(self, project: str, limit: int | None) -> None:
        """Up, down, below use, away."""

        async def act(session: AsyncSession) -> None:
            row = await session.get_one(Project, project)
            if limit is not None:
                await limits.set_project_limit(session, row, limit)
            elif row.spend_limit_micros is not None:
                await limits.remove_project_limit(session, row)

        self.admin(act)
        self.limits[project] = limit

    @rule(limit=st.none() | st.integers(0, 2_000))
    def change_shared_limit(self, limit: int | None) -> None:
        """The organisation's; its balances begin and end with it."""

        async def act(session: AsyncSession) -> None:
            if limit is not None:
                await limits.set_organization_limit(session, limit)
            elif await limits.organization_limit(session) is not None:
                await limits.remove_organization_limit(session)

        self.admin(act)
        self.shared_limit = limit

    @rule(project=st.none() | projects, threshold=thresholds)
    def add_alert(self, project: str | None, threshold: int) -> None:
        """Of a project or of the organisation."""

        async def act(session: AsyncSession) -> str:
            row = await alert_queries.create_alert(
                session, project_id=project, threshold_micros=threshold, recipients=[], subject_prefix=None
            )
            return row.id

        self.alerts[self.admin(act)] = Alert(project, threshold)

    @rule(data=st.data(), threshold=thresholds)
    def change_alert(self, data: st.DataObject, threshold: int) -> None:
        """Up or down."""
        if self.alerts:
            alert_id = data.draw(st.sampled_from(sorted(self.alerts)))
            alert = self.alerts[alert_id]

            async def act(session: AsyncSession) -> None:
                row = await alert_queries.get_alert(session, alert.project, alert_id, lock=True)
                row.threshold_micros = threshold

            self.admin(act)
            alert.threshold = threshold

    @rule(data=st.data())
    def delete_alert(self, data: st.DataObject) -> None:
        """The organisation's balances end with the last that needs them."""
        if self.alerts:
            alert_id = data.draw(st.sampled_from(sorted(self.alerts)))
            self.admin(lambda session: alert_queries.delete_alert(session, self.alerts[alert_id].project, alert_id))
            del self.alerts[alert_id]

    @rule()
    def next_month(self) -> None:
        """Reservations of the month before stay open."""
        self.month = MONTHS[min(MONTHS.index(self.month) + 1, len(MONTHS) - 1)]

    def read(self) -> defaultdict[tuple[str, dt.date], Sums]:
        """The balances in Postgres."""

        async def act(session: AsyncSession) -> defaultdict[tuple[str, dt.date], Sums]:
            found: defaultdict[tuple[str, dt.date], Sums] = defaultdict(Sums)
            for row in await session.scalars(select(Balance)):
                found[row.project_id, row.month] = Sums(row.reserved_micros, row.spent_micros, row.overage_micros)
            return found

        return self.admin(act)

    @invariant()
    def agrees(self) -> None:
        """Balances, the organisation's, and the events that went out."""
        found = self.read()
        for key in {*found, *self.sums}:
            assert found[key] == self.sums[key], key

        async def act(session: AsyncSession) -> tuple[dict[dt.date, Sums], Counter[str]]:
            rows = await session.scalars(select(OrganizationBalance))
            whole = {row.month: Sums(row.reserved_micros, row.spent_micros, row.overage_micros) for row in rows}
            return whole, Counter(await session.scalars(select(WebhookEvent.subject)))

        whole, events = self.admin(act)
        kept = self.shared_limit is not None or any(alert.project is None for alert in self.alerts.values())
        for month in MONTHS if kept else ():
            parts = [self.sums[name, month] for name in PROJECTS]
            added = Sums(*(sum(getattr(part, name) for part in parts) for name in ("reserved", "spent", "overage")))
            assert whole.get(month, Sums()) == added
        assert kept or not whole
        assert events == self.events


@pytest.mark.timeout(300)
def test_the_ledger_agrees_with_a_simple_model(urls: tuple[str, str]) -> None:
    Books.urls = urls
    run_state_machine_as_test(
        Books,
        settings=hypothesis.settings(
            max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
        ),
    )
