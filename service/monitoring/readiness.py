"""Whether a process can do its work: the state of each dependency, of the workers, and of the work that is due."""

import asyncio
import datetime as dt
from dataclasses import dataclass
from typing import Literal

import msgspec
from sqlalchemy import Select, func, select, true, union_all

from service.database import leased_work, leases
from service.database.encryption import Sealer
from service.database.engine import Database
from service.database.fair_claims import waiting_keys
from service.database.schema import schema_problem
from service.database.tables import Leased, WebhookDelivery, WorkerHeartbeat
from service.monitoring.master_key import master_key_problem
from service.monitoring.shared_result import SharedResult
from service.storage import Storage

READY_SECONDS = 2.0
REUSED_SECONDS = 1.0
"""How long a result is reused. Probes ask every few seconds."""

MASTER_KEY_SECONDS = 30.0
"""How long the result of opening stored secrets is reused."""

HEARTBEAT_SECONDS = 20.0
"""Workers report every five seconds. Without a report for this time, no worker counts as running."""

LATE_SECONDS = 60.0
"""Due work that is unclaimed for this time means that there are too few workers, or none."""


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """The state of each dependency: `ok`, or what is wrong.

    `unavailable` (503): requests cannot be served. `degraded` (200): requests are served, and their work starts late,
    since Redis is unavailable or no worker runs. `oldest_due_seconds` is how long the oldest unclaimed work has been
    due, and `reconciler_seconds` the time since a worker's last heartbeat; null: there is none, or it is unknown.
    """

    status: Literal["ok", "degraded", "unavailable"]
    database: str
    schema: str
    master_key: str
    storage: str
    redis: str
    reconciler: str
    reconciler_seconds: float | None
    oldest_due_seconds: float | None


class ReadinessCheck:
    """Checks a process's dependencies, once at a time however many ask. One per process."""

    def __init__(self, db: Database, storage: Storage, sealer: Sealer) -> None:
        self._db = db
        self._storage = storage
        self._sealer = sealer
        self._master_key = SharedResult(self._read_master_key, seconds=MASTER_KEY_SECONDS)
        self._result = SharedResult(self._check, seconds=REUSED_SECONDS)

    async def readiness(self) -> Readiness:
        """Database, schema, master key and storage decide about `unavailable`; Redis and workers are reported only."""
        return await self._result.get()

    async def _check(self) -> Readiness:
        wakeups = self._db.wakeups
        database, storage, redis = await asyncio.gather(_database(self._db), self._storage.ping(), wakeups.ping())
        master_key = await self._master_key_problem(database)
        ready = (
            database.error is None and database.schema_problem is None and storage and master_key in ("ok", "unknown")
        )
        reconciler = _reconciler(database)
        overdue = (database.oldest_due_seconds or 0.0) > LATE_SECONDS
        no_redis = not wakeups.configured
        healthy = (redis or no_redis) and reconciler == "ok" and not overdue
        return Readiness(
            status="unavailable" if not ready else "ok" if healthy else "degraded",
            database="ok" if database.error is None else f"unavailable: {database.error}",
            schema="unknown" if database.error is not None else database.schema_problem or "ok",
            master_key=master_key,
            storage="ok" if storage else "unavailable",
            redis="not configured" if no_redis else "ok" if redis else "unavailable",
            reconciler=reconciler,
            reconciler_seconds=database.reconciler_seconds,
            oldest_due_seconds=database.oldest_due_seconds,
        )

    async def _master_key_problem(self, database: "_DatabaseState") -> str:
        if database.error is not None or database.schema_problem is not None:
            return "unknown"
        try:
            return await self._master_key.get()
        except Exception:
            return "unknown"

    async def _read_master_key(self) -> str:
        async with asyncio.timeout(READY_SECONDS), self._db.admin() as session:
            return await master_key_problem(session, self._sealer) or "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class _DatabaseState:
    """What the database reports, or the error of asking it."""

    error: str | None = None
    schema_problem: str | None = None
    reconciler_seconds: float | None = None
    oldest_due_seconds: float | None = None


async def _database(db: Database) -> _DatabaseState:
    try:
        async with asyncio.timeout(READY_SECONDS), db.worker() as session:
            problem = await schema_problem(session)
            if problem is not None:
                return _DatabaseState(schema_problem=problem)
            beat_at, oldest, now = (await session.execute(heartbeat_and_oldest_due())).one()
    except Exception as error:
        return _DatabaseState(error=type(error).__name__)
    return _DatabaseState(reconciler_seconds=_age(beat_at, now), oldest_due_seconds=_age(oldest, now))


def heartbeat_and_oldest_due() -> Select[dt.datetime | None, dt.datetime | None, dt.datetime]:
    """The query for a worker's newest heartbeat, since when the oldest unclaimed work is due, and the time."""
    due = union_all(*map(_oldest_due, [work.table for work in leased_work.ALL])).subquery()
    beat_at = select(func.max(WorkerHeartbeat.beat_at)).scalar_subquery()
    return select(beat_at, select(func.min(due.c.due_at)).scalar_subquery(), func.now())


def _oldest_due(table: type[Leased]) -> Select[dt.datetime | None]:
    """The query for since when the oldest unclaimed row is due. Deliveries have an index by endpoint only."""
    if table is not WebhookDelivery:
        return select(func.min(table.due_at).label("due_at")).where(leases.due(table))
    waiting = waiting_keys(WebhookDelivery.endpoint_id)
    head = (
        select(WebhookDelivery.due_at)
        .where(WebhookDelivery.endpoint_id == waiting.c.key, leases.due(WebhookDelivery))
        .order_by(WebhookDelivery.due_at)
        .limit(1)
        .correlate(waiting)
        .lateral("head")
    )
    return select(func.min(head.c.due_at).label("due_at")).select_from(waiting).join(head, true())


def _age(moment: dt.datetime | None, now: dt.datetime) -> float | None:
    return None if moment is None else round((now - moment).total_seconds(), 1)


def _reconciler(state: _DatabaseState) -> str:
    if state.error is not None or state.schema_problem is not None:
        return "unknown"
    if state.reconciler_seconds is None:
        return "no worker has reported"
    return "ok" if state.reconciler_seconds < HEARTBEAT_SECONDS else f"silent for {state.reconciler_seconds:.0f} s"
