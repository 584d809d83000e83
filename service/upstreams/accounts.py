"""The upstream clients of a process: one for each account, created at first use and replaced when its row changes.

A row is read again after `CLIENT_FRESH_SECONDS`, so a new credential, a new address or a deletion takes effect within a
second. Requests that a replaced client has under way run to their end. The health of each account is tracked here too:
it is written to the row from time to time, and workers send few requests to an account that does not respond
(`is_unavailable`).
"""

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import BaseModel, provider_of
from service.database.encryption import DecryptionFailed, Sealer
from service.database.engine import Database
from service.database.recent_reads import RecentReads
from service.database.tables import UpstreamAccount
from service.egress.addresses import Reach
from service.egress.resolver import GATEWAY, Resolver
from service.project_memory import ProjectMemory
from service.settings import Settings
from service.states import UpstreamKind
from service.upstreams.adapters.client import Connection
from service.upstreams.adapters.transport import CheckedTransport
from service.upstreams.capabilities import provider_at
from service.upstreams.credentials import open_credential
from service.upstreams.port import ErrorKind, InferenceUpstream
from service.upstreams.queries import inference_accounts

log = structlog.get_logger()

Client = TypeVar("Client", bound=InferenceUpstream, covariant=True)

DEFAULT_ACCOUNT = "default"
NO_UPSTREAM = (
    "There is no upstream yet, so jobs are refused. Add an account by POST /v1/organization/upstreams "
    "(docs/upstreams.md), or set OPENAI_BASE_URL and OPENAI_API_KEY and start again."
)
CLIENT_FRESH_SECONDS = 0.8
UNAVAILABLE_AFTER_CALLS = 3
"""Consecutive calls without a response after which an account counts as unavailable."""

HEALTH_WRITE_SECONDS = 30.0


class AccountUnusable(Exception):
    """An account is deleted, or its credential cannot be decrypted. The message contains no secret."""


@dataclass(slots=True)
class _Client(Generic[Client]):
    upstream: Client
    version: int
    fresh_until: float
    billed: bool = True


@dataclass(slots=True)
class _Health:
    """The outcome of the last calls. `written_at` is when it was last written to the row."""

    calls_without_response: int = 0
    error: ErrorKind | None = None
    written: bool = False
    written_at: float = 0.0


def reach_of(settings: Settings, *, own: bool) -> Reach:
    """How far a base URL may reach: to private addresses for administrators', by the settings for projects'."""
    if not own:
        return Reach.PRIVATE
    return Reach.of(allow_private=settings.upstream_allow_private, development=settings.environment == "dev")


class Accounts(Generic[Client]):
    """The accounts' clients, and the memory that projects' answers occupy. There is one instance in each process.

    `clients` are their classes by an account's kind: a process that only relays inference calls has smaller ones.
    """

    def __init__(
        self,
        settings: Settings,
        db: Database,
        sealer: Sealer,
        clients: Mapping[UpstreamKind, Callable[[Connection], Client]],
    ) -> None:
        self._settings = settings
        self._db = db
        self._sealer = sealer
        self._new = clients
        self.memory = ProjectMemory(settings.max_project_memory_bytes)
        self._resolver = Resolver()
        self._clients: dict[str, _Client[Client]] = {}
        self._health: dict[str, _Health] = {}
        self._loading: dict[str, asyncio.Lock] = {}
        self._retired: dict[InferenceUpstream, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._serving: RecentReads[tuple[str, str], Sequence[str]] = RecentReads(CLIENT_FRESH_SECONDS)

    async def write_default_account(self) -> None:
        """Write the default account's row, and warn if there is no account at all.

        Only logs a failure, since workers write the row too when they start.
        """
        try:
            async with self._db.admin() as session:
                await ensure_default_account(session, self._settings)
                if not await account_ids(session):
                    log.warning("upstream.none", advice=NO_UPSTREAM)
        except Exception as error:
            log.warning("upstream.default_account_not_written", error=type(error).__name__)

    async def get(self, account_id: str) -> Client:
        """The account's client, as its row describes it now. Raises `AccountUnusable`."""
        fresh = self._fresh(account_id)
        if fresh is not None:
            return fresh
        async with self._loading.setdefault(account_id, asyncio.Lock()):
            return self._fresh(account_id) or await self._load(account_id)

    async def serving(self, project_id: str, model: str, base: BaseModel | None) -> Sequence[str]:
        """The ids of the accounts that may serve a base model's inference for a project, in order of preference.

        Like clients, they are read again after `CLIENT_FRESH_SECONDS`. `base` is None for a model that the catalogue
        does not have.
        """

        async def read() -> Sequence[str]:
            async with self._db.read(project_id) as reader:
                return await inference_accounts(reader, project_id, model, base, dt.datetime.now(dt.UTC))

        return await self._serving.get((project_id, model if base is None else base.name), read)

    def billed(self, account_id: str) -> bool:
        """Whether the use of an account is charged to projects; for accounts whose client `get` returned before."""
        client = self._clients.get(account_id)
        return client is None or client.billed

    def probe(self, row: UpstreamAccount, credential: str | None) -> Client:
        """A client for a row and a credential that are not stored yet. The caller closes it."""
        return self._new_client(row, credential)

    def is_unavailable(self, account_id: str) -> bool:
        """Whether the last `UNAVAILABLE_AFTER_CALLS` calls to an account got no response."""
        health = self._health.get(account_id)
        return health is not None and health.calls_without_response >= UNAVAILABLE_AFTER_CALLS

    def record_call(self, account_id: str, error: ErrorKind | None) -> None:
        """Record how a call ended; `error` None means success, and so do refusals of the request's content."""
        error = None if error in ("invalid", "not_found") else error
        health = self._health.setdefault(account_id, _Health())
        health.calls_without_response = health.calls_without_response + 1 if error == "away" else 0
        now = time.monotonic()
        if health.written and health.error == error and now < health.written_at + HEALTH_WRITE_SECONDS:
            return
        health.error, health.written, health.written_at = error, True, now
        task = asyncio.get_running_loop().create_task(self._write_health(account_id, error))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Close every client."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for timer in self._retired.values():
            timer.cancel()
        for retired in self._retired:
            await retired.close()
        for client in self._clients.values():
            await client.upstream.close()
        self._clients, self._retired = {}, {}

    def _fresh(self, account_id: str) -> Client | None:
        client = self._clients.get(account_id)
        return client.upstream if client is not None and time.monotonic() < client.fresh_until else None

    async def _load(self, account_id: str) -> Client:
        read_at = time.monotonic()
        async with self._db.worker() as session:
            row = await session.get(UpstreamAccount, account_id)
        client = self._clients.get(account_id)
        if account_id == DEFAULT_ACCOUNT:
            version = 0
        elif row is None or row.deleted_at is not None:
            self._retire(self._clients.pop(account_id, None))
            raise AccountUnusable(f"The upstream account {account_id} is deleted.")
        else:
            version = row.version
        if client is None or client.version != version:
            self._retire(client)
            client = self._clients[account_id] = _Client(self._open(account_id, row), version, 0.0)
        client.fresh_until = read_at + CLIENT_FRESH_SECONDS
        client.billed = row is None or row.billed
        return client.upstream

    def _open(self, account_id: str, row: UpstreamAccount | None) -> Client:
        if account_id == DEFAULT_ACCOUNT or row is None:
            return self._default_client()
        try:
            return self._new_client(row, open_credential(self._sealer, row))
        except DecryptionFailed:
            self._clients.pop(account_id, None)
            log.error("upstream.credential_unreadable", account=account_id)
            raise AccountUnusable(
                f"The credential of the upstream account {account_id} cannot be decrypted with the master key."
            ) from None

    def _default_client(self) -> Client:
        settings = self._settings
        if not settings.has_default_upstream:
            raise AccountUnusable(
                "The default upstream account is that of OPENAI_BASE_URL and OPENAI_API_KEY, which are not set."
            )
        return self._new["openai"](
            Connection(
                account_id=DEFAULT_ACCOUNT,
                kind="openai",
                provider=provider_of(settings.upstream_base_url),
                base_url=settings.upstream_base_url,
                api_key=settings.upstream_api_key,
                control_timeout=settings.control_timeout_seconds,
                upload_timeout=settings.upload_timeout_seconds,
                inference_timeout=settings.inference_timeout_seconds,
                max_answer_bytes=settings.max_answer_bytes,
                on_call_ended=self.record_call,
            )
        )

    def _new_client(self, row: UpstreamAccount, credential: str | None) -> Client:
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
            max_answer_bytes=settings.max_answer_bytes,
            transport=CheckedTransport(
                reach_of(settings, own=row.project_id is not None), self._resolver, owner=row.project_id or GATEWAY
            ),
            on_call_ended=self.record_call,
        )
        return self._new[row.kind](connection)

    def _retire(self, client: _Client[Client] | None) -> None:
        """Close a replaced client after the longest time that its running requests may take."""
        if client is None:
            return
        settings, upstream = self._settings, client.upstream
        longest = max(settings.upload_timeout_seconds, settings.inference_timeout_seconds)
        self._retired[upstream] = asyncio.get_running_loop().call_later(longest, self._close_retired, upstream)

    def _close_retired(self, upstream: InferenceUpstream) -> None:
        self._retired.pop(upstream, None)
        task = asyncio.get_running_loop().create_task(upstream.close())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_health(self, account_id: str, error: ErrorKind | None) -> None:
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
    """Write the default account's row with the current base URL, if the settings have one.

    API and workers call this when they start.

    Two processes that start together may conflict on the primary key or on the unique name. An upsert handles only one
    of these constraints, so this inserts without a conflict target and then updates.
    """
    if not settings.upstream_base_url:
        return
    values = {"name": DEFAULT_ACCOUNT, "base_url": settings.upstream_base_url}
    await session.execute(
        insert(UpstreamAccount).values(id=DEFAULT_ACCOUNT, kind="openai", **values).on_conflict_do_nothing()
    )
    await session.execute(update(UpstreamAccount).where(UpstreamAccount.id == DEFAULT_ACCOUNT).values(**values))


async def account_ids(session: AsyncSession) -> list[str]:
    """The ids of all accounts that are not deleted."""
    return list(await session.scalars(select(UpstreamAccount.id).where(UpstreamAccount.deleted_at.is_(None))))
