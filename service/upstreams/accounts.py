"""The upstream accounts of a process: one client for each, made when it is first wanted and again when its row changes.

A row is looked at again within a second, so a new credential, a new address or a deletion is in use that soon. What a
replaced client still has under way comes to its end. How each account does is kept here too: it goes into the row
now and then, and workers send little to one that does not answer (`troubled`).
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Literal

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import provider_of
from service.database.encryption import SealBroken, Sealer
from service.database.engine import Database
from service.database.tables import UpstreamAccount
from service.egress.addresses import Reach
from service.egress.resolver import Resolver
from service.errors import SettingsError
from service.settings import Settings
from service.upstreams.adapters.azure import AzureUpstream
from service.upstreams.adapters.openai import Connection, OpenAIUpstream
from service.upstreams.adapters.transport import CheckedTransport
from service.upstreams.capabilities import provider_at
from service.upstreams.credentials import open_credential
from service.upstreams.port import RefusalKind, Upstream

log = structlog.get_logger()

DEFAULT_ACCOUNT = "default"
REMEMBERED_SECONDS = 0.8
TROUBLED_AFTER = 3
"""So many calls in a row without an answer."""

HEALTH_EVERY_SECONDS = 30.0

ErrorKind = RefusalKind | Literal["away"]


class AccountUnusable(Exception):
    """An account cannot be called: it is deleted, or its credential does not open. The message holds no secret."""


@dataclass(slots=True)
class _Known:
    upstream: OpenAIUpstream
    version: int
    until: float
    billed: bool = True


@dataclass(slots=True)
class _Health:
    """What was heard last. `written_at` is when the row was told so."""

    away_in_a_row: int = 0
    error: ErrorKind | None = None
    written: bool = False
    written_at: float = 0.0


def reach_of(settings: Settings, *, own: bool) -> Reach:
    """How far inward an account's base URL may lead: anywhere for administrators', by the settings for a project's."""
    if not own:
        return Reach.PRIVATE
    return Reach.of(allow_private=settings.upstream_allow_private, development=settings.environment == "dev")


class Accounts:
    """One for each process."""

    def __init__(self, settings: Settings, db: Database, sealer: Sealer) -> None:
        if not settings.upstream_base_url or not settings.upstream_api_key:
            raise SettingsError("Set OPENAI_BASE_URL and OPENAI_API_KEY to the upstream that trains.")
        self._settings = settings
        self._db = db
        self._sealer = sealer
        self._resolver = Resolver()
        self._known: dict[str, _Known] = {}
        self._health: dict[str, _Health] = {}
        self._loading: dict[str, asyncio.Lock] = {}
        self._retired: dict[OpenAIUpstream, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def introduce(self) -> None:
        """Write the default account's row if the database is there; the worker does so too when it starts."""
        try:
            async with self._db.admin() as session:
                await ensure_default_account(session, self._settings)
        except Exception as error:
            log.warning("upstream.not_introduced", error=type(error).__name__)

    async def get(self, account_id: str) -> Upstream:
        """The client of an account as it is now. Raises `AccountUnusable`."""
        known = self._fresh(account_id)
        if known is not None:
            return known
        async with self._loading.setdefault(account_id, asyncio.Lock()):
            return self._fresh(account_id) or await self._look(account_id)

    def billed(self, account_id: str) -> bool:
        """Whether the use of an account that `get` has given is charged to projects."""
        known = self._known.get(account_id)
        return known is None or known.billed

    def probe(self, row: UpstreamAccount, credential: str | None) -> Upstream:
        """A client for a row as it is to become, with a credential that is not stored yet. The caller closes it."""
        return self._made(row, credential)

    def troubled(self, account_id: str) -> bool:
        """Whether an account has not answered several times in a row."""
        health = self._health.get(account_id)
        return health is not None and health.away_in_a_row >= TROUBLED_AFTER

    def note(self, account_id: str, error: ErrorKind | None) -> None:
        """A call has ended, well when `error` is None. A refusal of what was asked for is an answer too."""
        error = None if error in ("invalid", "not_found") else error
        health = self._health.setdefault(account_id, _Health())
        health.away_in_a_row = health.away_in_a_row + 1 if error == "away" else 0
        now = time.monotonic()
        if health.written and health.error == error and now < health.written_at + HEALTH_EVERY_SECONDS:
            return
        health.error, health.written, health.written_at = error, True, now
        task = asyncio.get_running_loop().create_task(self._write(account_id, error))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Disconnect everything."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for timer in self._retired.values():
            timer.cancel()
        for upstream in [*self._retired, *(known.upstream for known in self._known.values())]:
            await upstream.close()
        self._known, self._retired = {}, {}

    def _fresh(self, account_id: str) -> Upstream | None:
        known = self._known.get(account_id)
        return known.upstream if known is not None and time.monotonic() < known.until else None

    async def _look(self, account_id: str) -> Upstream:
        asked_at = time.monotonic()
        async with self._db.worker() as session:
            row = await session.get(UpstreamAccount, account_id)
        known = self._known.get(account_id)
        if account_id == DEFAULT_ACCOUNT:
            version = 0
        elif row is None or row.deleted_at is not None:
            self._retire(self._known.pop(account_id, None))
            raise AccountUnusable(f"The upstream account {account_id} is deleted.")
        else:
            version = row.version
        if known is None or known.version != version:
            self._retire(known)
            known = self._known[account_id] = _Known(self._opened(account_id, row), version, 0.0)
        known.until = asked_at + REMEMBERED_SECONDS
        known.billed = row is None or row.billed
        return known.upstream

    def _opened(self, account_id: str, row: UpstreamAccount | None) -> OpenAIUpstream:
        if account_id == DEFAULT_ACCOUNT or row is None:
            return self._default()
        try:
            return self._made(row, open_credential(self._sealer, row))
        except SealBroken:
            self._known.pop(account_id, None)
            log.error("upstream.credential_does_not_open", account=account_id)
            raise AccountUnusable(
                f"The credential of the upstream account {account_id} does not open under the master key."
            ) from None

    def _default(self) -> OpenAIUpstream:
        settings = self._settings
        return OpenAIUpstream(
            Connection(
                account_id=DEFAULT_ACCOUNT,
                kind="openai",
                provider=provider_of(settings.upstream_base_url),
                base_url=settings.upstream_base_url,
                api_key=settings.upstream_api_key,
                control_timeout=settings.control_timeout_seconds,
                upload_timeout=settings.upload_timeout_seconds,
                inference_timeout=settings.inference_timeout_seconds,
                note=self.note,
            )
        )

    def _made(self, row: UpstreamAccount, credential: str | None) -> OpenAIUpstream:
        settings = self._settings
        connection = Connection(
            account_id=row.id,
            kind=row.kind,
            provider=provider_at(row),
            base_url=row.base_url,
            api_key=credential or "",
            api_version=row.api_version,
            deployments=row.deployments or {},
            control_timeout=settings.control_timeout_seconds,
            upload_timeout=settings.upload_timeout_seconds,
            inference_timeout=settings.inference_timeout_seconds,
            transport=CheckedTransport(reach_of(settings, own=row.project_id is not None), self._resolver),
            note=self.note,
        )
        return AzureUpstream(connection) if row.kind == "azure" else OpenAIUpstream(connection)

    def _retire(self, known: _Known | None) -> None:
        """Close a replaced client once whatever it has under way must have ended."""
        if known is None:
            return
        settings, upstream = self._settings, known.upstream
        longest = max(settings.upload_timeout_seconds, settings.inference_timeout_seconds)
        self._retired[upstream] = asyncio.get_running_loop().call_later(longest, self._close_later, upstream)

    def _close_later(self, upstream: OpenAIUpstream) -> None:
        self._retired.pop(upstream, None)
        task = asyncio.get_running_loop().create_task(upstream.close())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, account_id: str, error: ErrorKind | None) -> None:
        values = (
            {"last_success_at": func.now()}
            if error is None
            else {"last_error_at": func.now(), "last_error_kind": error}
        )
        try:
            async with self._db.worker() as session:
                await session.execute(update(UpstreamAccount).where(UpstreamAccount.id == account_id).values(**values))
        except Exception as failure:
            log.warning("upstream.health_not_written", account=account_id, error=type(failure).__name__)


async def ensure_default_account(session: AsyncSession, settings: Settings) -> None:
    """The default account's row, with the base URL that is in use now. API and workers call this at start-up.

    Two that start at once meet at the key or at the unique name, whichever is first; an upsert minds only one of them.
    """
    values = {"name": DEFAULT_ACCOUNT, "base_url": settings.upstream_base_url}
    await session.execute(
        insert(UpstreamAccount).values(id=DEFAULT_ACCOUNT, kind="openai", **values).on_conflict_do_nothing()
    )
    await session.execute(update(UpstreamAccount).where(UpstreamAccount.id == DEFAULT_ACCOUNT).values(**values))


async def account_ids(session: AsyncSession) -> list[str]:
    """The accounts that there are."""
    return list(await session.scalars(select(UpstreamAccount.id).where(UpstreamAccount.deleted_at.is_(None))))
