"""Refused callers in the audit log: one entry a minute for each key and kind of refusal, with how many there were.

A key's form and checksum are public, so anybody can make up well-formed ones. Keys that are not known share sixteen
entries a minute, which is the most that they can add to the database.
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

UNKNOWN_SUBJECTS = 16
COUNT_EVERY_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A refusal of a key: why, and whose key it is if it is known."""

    kind: RefusalKind
    sha256: bytes
    key_id: str | None = None
    service_account_id: str | None = None
    project_id: str | None = None

    @property
    def subject(self) -> str:
        """What it is counted under."""
        return self.key_id or f"unknown-{self.sha256[0] % UNKNOWN_SUBJECTS}"


@dataclass(slots=True)
class _Counted:
    refused: Refused
    actor: Actor
    error: ApiError
    times: int


class Refusals:
    """Notes refusals. The first of a minute is written before its answer goes out, the others soon after."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._minute = dt.datetime.min.replace(tzinfo=dt.UTC)
        self._noted: set[tuple[str, str]] = set()
        self._waiting: dict[tuple[dt.datetime, str, str], _Counted] = {}
        self._counting: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def note(self, refused: Refused, error: ApiError, client: Actor, *, now: dt.datetime) -> None:
        """Write down that `client` got `error`."""
        actor = Actor(
            kind="session" if refused.key_id is None else "api_key",
            key_id=refused.key_id,
            service_account_id=refused.service_account_id,
            ip_address=client.ip_address,
            request_id=client.request_id,
        )
        minute = now.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._minute, self._noted = minute, set()
        about = (refused.kind, refused.subject)
        if about not in self._noted:
            self._noted.add(about)
            await self._write(minute, _Counted(refused, actor, error, 1))
            return
        self._waiting.setdefault((minute, *about), _Counted(refused, actor, error, 0)).times += 1
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count_soon())

    async def close(self) -> None:
        """Write what has been counted."""
        self._closing.set()
        if self._counting is not None:
            await self._counting

    async def _count_soon(self) -> None:
        while self._waiting:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), COUNT_EVERY_SECONDS)
            await self._count()

    async def _count(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for (minute, _, _), counted in waiting.items():
            try:
                await self._write(minute, counted)
            except Exception as error:  # the answers went out long ago; the log keeps what the table could not
                log.error("refusals.uncounted", kind=counted.refused.kind, times=counted.times, error=repr(error))

    async def _write(self, minute: dt.datetime, counted: _Counted) -> None:
        refused = counted.refused
        about = (Refusal.kind == refused.kind) & (Refusal.subject == refused.subject) & (Refusal.minute == minute)
        turn = hashlib.sha256(f"{refused.kind} {refused.subject} {minute}".encode()).digest()
        async with self._db.admin() as session:
            await session.execute(REFUSALS.take(turn))
            known = await session.scalar(
                update(Refusal)
                .where(about)
                .values(count=Refusal.count + counted.times)
                .returning(Refusal.audit_log_id)
                .execution_options(synchronize_session=False)
            )
            if known is not None:
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
                    minute=minute,
                    count=counted.times,
                )
            )
