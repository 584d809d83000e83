"""Audits the ledger: balances equal their entries, subjects are resolved once, open reservations belong to live work.

Each query finds violations; the ledger is consistent if none finds any. All read one snapshot, so the audit is exact
while the service runs.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database, create_engine
from service.wakeups import Wakeups

MAX_SHOWN = 20

CHECKS: dict[str, tuple[str, str]] = {
    "balances": (
        "Every balance is the sum of its entries",
        """
        WITH sums AS (
            SELECT project_id, month,
                   sum(CASE kind WHEN 'reserve' THEN reserved_micros ELSE -reserved_micros END) AS reserved,
                   sum(spent_micros) AS spent, sum(overage_micros) AS overage
            FROM ledger_entries GROUP BY project_id, month
        )
        SELECT format('%s %s: balance %s/%s/%s, entries %s/%s/%s', project_id, to_char(month, 'YYYY-MM'),
                      b.reserved_micros, b.spent_micros, b.overage_micros,
                      coalesce(s.reserved, 0), coalesce(s.spent, 0), coalesce(s.overage, 0))
        FROM balances b FULL JOIN sums s USING (project_id, month)
        WHERE (b.reserved_micros, b.spent_micros, b.overage_micros)
              IS DISTINCT FROM (coalesce(s.reserved, 0), coalesce(s.spent, 0), coalesce(s.overage, 0))
        """,
    ),
    "organization": (
        "The organisation's balance is the sum of its projects'",
        """
        SELECT format('%s: organisation %s/%s/%s, projects %s/%s/%s', to_char(month, 'YYYY-MM'),
                      o.reserved_micros, o.spent_micros, o.overage_micros, s.reserved, s.spent, s.overage)
        FROM organization_balances o FULL JOIN (
            SELECT month, sum(reserved_micros) AS reserved, sum(spent_micros) AS spent, sum(overage_micros) AS overage
            FROM balances GROUP BY month
        ) s USING (month)
        WHERE (SELECT kept FROM organization_spending)
          AND (coalesce(o.reserved_micros, 0), coalesce(o.spent_micros, 0), coalesce(o.overage_micros, 0))
              IS DISTINCT FROM (coalesce(s.reserved, 0), coalesce(s.spent, 0), coalesce(s.overage, 0))
        """,
    ),
    "once": (
        "Every subject reserves at most once and is resolved at most once",
        """
        SELECT format('%s: %s reservations, %s resolutions', subject,
                      count(*) FILTER (WHERE kind = 'reserve'), count(*) FILTER (WHERE kind <> 'reserve'))
        FROM ledger_entries GROUP BY subject
        HAVING count(*) FILTER (WHERE kind = 'reserve') > 1 OR count(*) FILTER (WHERE kind <> 'reserve') > 1
        """,
    ),
    "resolutions": (
        "Every resolution gives back exactly what its subject reserved, in the same month",
        """
        SELECT format('%s: reserved %s, given back %s', d.subject, r.reserved_micros, d.reserved_micros)
        FROM ledger_entries d LEFT JOIN ledger_entries r ON r.subject = d.subject AND r.kind = 'reserve'
        WHERE d.kind <> 'reserve'
          AND (d.project_id, d.month, d.reserved_micros) IS DISTINCT FROM (r.project_id, r.month, r.reserved_micros)
        """,
    ),
    "jobs": (
        "Every job that has ended is resolved, at the cost that it shows",
        """
        SELECT format('%s has %s and costs %s: %s', j.id, j.state, coalesce(j.cost_micros, 0),
                      CASE WHEN d.id IS NULL THEN 'its reservation is open'
                           ELSE format('posted %s', d.spent_micros + d.overage_micros) END)
        FROM jobs j
        JOIN ledger_entries r ON r.subject = j.id AND r.kind = 'reserve'
        LEFT JOIN ledger_entries d ON d.subject = j.id AND d.kind <> 'reserve'
        WHERE j.finished_at IS NOT NULL
          AND (d.id IS NULL OR d.spent_micros + d.overage_micros <> coalesce(j.cost_micros, 0))
        """,
    ),
    "open": (
        "Every open reservation belongs to unfinished work",
        """
        SELECT format('%s of %s since %s', r.subject, r.project_id, r.created_at)
        FROM ledger_entries r
        WHERE r.kind = 'reserve'
          AND NOT EXISTS (SELECT FROM ledger_entries d WHERE d.subject = r.subject AND d.kind <> 'reserve')
          AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = r.subject AND j.finished_at IS NULL)
          AND NOT EXISTS (SELECT FROM open_inferences c WHERE c.subject = r.subject)
        """,
    ),
    "overdue": (
        "No inference call is open long past its expiry, as happens when no worker runs",
        """
        SELECT format('%s of %s, due %s', subject, project_id, expires_at)
        FROM open_inferences WHERE expires_at < now() - interval '10 minutes'
        """,
    ),
}
"""By name: the claim, and the query that finds violations of it."""

_TOTALS = """
    SELECT (SELECT count(DISTINCT project_id) FROM balances), (SELECT count(*) FROM balances),
           (SELECT count(*) FROM ledger_entries), coalesce(sum(reserved_micros), 0)::bigint,
           coalesce(sum(spent_micros), 0)::bigint, coalesce(sum(overage_micros), 0)::bigint
    FROM balances
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check: its claim, the number of violations, and the first of them."""

    check: str
    claim: str
    drifts: int
    places: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The result of an audit. Amounts in micro-dollars."""

    projects: int
    balances: int
    entries: int
    reserved_micros: int
    spent_micros: int
    overage_micros: int
    findings: Sequence[Finding]

    @property
    def consistent(self) -> bool:
        """Whether no check found a violation."""
        return not any(finding.drifts for finding in self.findings)


@asynccontextmanager
async def ledger_snapshot(database_url: str) -> AsyncIterator[AsyncSession]:
    """A read-only transaction over all projects in which every query sees the same snapshot."""
    engine = create_engine(database_url, pool_size=1, application="tunegate-audit", statement_seconds=None)
    db = Database(engine, Wakeups(""))
    try:
        async with db.snapshot() as session:
            yield session
    finally:
        await db.close()


async def prove(session: AsyncSession) -> Proof:
    """Run every check in a session of `ledger_snapshot`."""
    findings = []
    for name, (claim, query) in CHECKS.items():
        places = (await session.scalars(text(query))).all()
        findings.append(Finding(check=name, claim=claim, drifts=len(places), places=places[:MAX_SHOWN]))
    totals = (await session.execute(text(_TOTALS))).one()
    return Proof(
        projects=totals[0],
        balances=totals[1],
        entries=totals[2],
        reserved_micros=totals[3],
        spent_micros=totals[4],
        overage_micros=totals[5],
        findings=findings,
    )
