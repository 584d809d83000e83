"""Records refused callers in the audit log: one entry a minute for each key and kind of refusal, with their number.

The format and checksum of keys are public, so anybody can make up well-formed ones. Unknown keys share sixteen entries
an hour, which limits the rows that they can add to the database to 384 a day, and at most `MAX_WRITERS` entries are
written at a time, whatever is refused.
"""

import asyncio
import datetime as dt
import hashlib
from contextlib import suppress
from dataclasses import dataclass

import structlog
from sqlalchemy import insert, update

from service.database.advisory_locks import REFUSALS
from service.database.engine import Database
from service.database.tables import Refusal
from service.errors import ApiError
from service.identity import audit
from service.identity.audit import Actor
from service.states import RefusalKind

log = structlog.get_logger()

UNKNOWN_KEY_SUBJECTS = 16
MAX_WRITERS = 2
WRITE_EVERY_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A refused key: the reason, and its owner if the key is known."""

    kind: RefusalKind
    sha256: bytes
    key_id: str | None = None
    service_account_id: str | None = None
    project_id: str | None = None

    @property
    def subject(self) -> str:
        """The name that its refusals are counted under: the key's id, or one of sixteen for unknown keys."""
        return self.key_id or f"unknown-{self.sha256[0] % UNKNOWN_KEY_SUBJECTS}"

    def counted_from(self, now: dt.datetime) -> dt.datetime:
        """The start of the minute whose refusals share an entry, or of the hour for unknown keys."""
        return now.replace(minute=now.minute if self.key_id else 0, second=0, microsecond=0)


@dataclass(slots=True)
class _Counted:
    refused: Refused
    actor: Actor
    error: ApiError
    times: int


class Refusals:
    """Records refusals. The first of an entry is written before its response is sent, the others soon after."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._writers = asyncio.Semaphore(MAX_WRITERS)
        self._hour = dt.datetime.min.replace(tzinfo=dt.UTC)
        self._written: dict[tuple[str, str], dt.datetime] = {}
        self._waiting: dict[tuple[dt.datetime, str, str], _Counted] = {}
        self._writer: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def record(self, refused: Refused, error: ApiError, client: Actor, *, now: dt.datetime) -> None:
        """Record that `client` got `error`."""
        actor = Actor(
            kind="session" if refused.key_id is None else "api_key",
            key_id=refused.key_id,
            service_account_id=refused.service_account_id,
            ip_address=client.ip_address,
            request_id=client.request_id,
        )
        hour = now.replace(minute=0, second=0, microsecond=0)
        if hour != self._hour:
            self._hour, self._written = hour, {}
        since = refused.counted_from(now)
        key = (refused.kind, refused.subject)
        if self._written.get(key) != since:
            self._written[key] = since
            await self._write(since, _Counted(refused, actor, error, 1))
            return
        self._waiting.setdefault((since, *key), _Counted(refused, actor, error, 0)).times += 1
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_soon())

    async def close(self) -> None:
        """Write the refusals that are counted and not written yet."""
        self._closing.set()
        if self._writer is not None:
            await self._writer

    async def _write_soon(self) -> None:
        while self._waiting:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), WRITE_EVERY_SECONDS)
            await self._write_counted()

    async def _write_counted(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for (since, _, _), counted in waiting.items():
            try:
                await self._write(since, counted)
            except Exception as error:  # the responses are sent already; the log is the only trace
                log.error("refusals.not_written", kind=counted.refused.kind, times=counted.times, error=repr(error))

    async def _write(self, since: dt.datetime, counted: _Counted) -> None:
        refused = counted.refused
        same = (Refusal.kind == refused.kind) & (Refusal.subject == refused.subject) & (Refusal.minute == since)
        digest = hashlib.sha256(f"{refused.kind} {refused.subject} {since}".encode()).digest()
        async with self._writers, self._db.admin() as session:
            await session.execute(REFUSALS.take(digest))
            entry_id = await session.scalar(
                update(Refusal)
                .where(same)
                .values(count=Refusal.count + counted.times)
                .returning(Refusal.audit_log_id)
                .execution_options(synchronize_session=False)
            )
            if entry_id is not None:
                return
            entry_id = await audit.record(
                session,
                counted.actor,
                "login.failed",
                project_id=refused.project_id,
                resource_id=refused.key_id,
                data={
                    "error_code": counted.error.code,
                    "error_message": counted.error.message,
                    "reason": refused.kind,
                    "key_fingerprint": refused.sha256.hex()[:16],
                },
            )
            await session.execute(
                insert(Refusal).values(
                    audit_log_id=entry_id,
                    kind=refused.kind,
                    subject=refused.subject,
                    minute=since,
                    count=counted.times,
                )
            )
