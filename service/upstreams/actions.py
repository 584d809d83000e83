"""What can be done with upstream accounts. Each runs in its caller's transaction; the caller has checked the upstream.

An account's row is locked after the advisory lock under which its slots are counted, so that no job is admitted to one
that is being deleted.
"""

import dataclasses
from typing import Any

from msgspec import UNSET
from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.advisory_locks import ACCOUNT_SLOTS, PROJECT_UPSTREAMS
from service.database.encryption import Sealer
from service.database.tables import Job, Model, UpstreamAccount
from service.errors import Conflict, InvalidRequest
from service.identity import audit
from service.identity.audit import Actor
from service.limits.scheduling_pass import request_scheduling_pass
from service.states import ACTIVE
from service.upstreams.accounts import DEFAULT_ACCOUNT
from service.upstreams.credentials import seal_credential
from service.upstreams.inbound_webhooks import seal_webhook_secret
from service.upstreams.queries import get_account
from service.upstreams.schemas import CreateUpstream, UpdateUpstream

MAX_OWN = 20
"""Accounts that a project may bring."""

OF_THE_CLIENT = ("base_url", "credential", "api_version")
PLAIN = (
    "name",
    "api_version",
    "models",
    "methods",
    "deployments",
    "max_active_jobs",
    "polls_per_minute",
    "provider",
    "billed",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a check of an account's upstream came to: the kind of error, or None."""

    error: str | None

    def values(self) -> dict[str, Any]:
        """The columns that remember it."""
        if self.error is None:
            return {"last_success_at": func.clock_timestamp()}
        return {"last_error_at": func.clock_timestamp(), "last_error_kind": self.error}


async def create_account(
    session: AsyncSession,
    sealer: Sealer,
    actor: Actor,
    *,
    account_id: str,
    owner: str | None,
    wanted: CreateUpstream,
    base_url: str,
    found: Found,
) -> UpstreamAccount:
    """A new account of a project, or shared (`owner` None). Raises `Conflict` for a name that is taken."""
    if owner is not None:
        await session.execute(PROJECT_UPSTREAMS.take(owner))
        count = await session.scalar(
            select(func.count()).where(UpstreamAccount.project_id == owner, UpstreamAccount.deleted_at.is_(None))
        )
        if (count or 0) >= MAX_OWN:
            raise InvalidRequest(
                f"A project has at most {MAX_OWN} upstream accounts. Delete one that is not needed.",
                code="too_many_upstreams",
            )
    if wanted.name == DEFAULT_ACCOUNT:
        raise _name_taken(wanted.name)
    values = {name: getattr(wanted, name) for name in PLAIN if name in wanted.__struct_fields__}
    row: UpstreamAccount | None = await session.scalar(
        insert(UpstreamAccount)
        .values(
            **values,
            **found.values(),
            id=account_id,
            project_id=owner,
            kind=wanted.kind,
            base_url=base_url,
            credential_sealed=seal_credential(sealer, account_id, wanted.credential),
            credential_set_at=func.now(),
            webhook_secret_sealed=_sealed_webhook_secret(sealer, account_id, wanted.webhook_secret),
        )
        .on_conflict_do_nothing()
        .returning(UpstreamAccount)
    )
    if row is None:
        raise _name_taken(wanted.name)
    await audit.record(
        session,
        actor,
        "upstream_account.created",
        project_id=owner,
        resource_id=account_id,
        data={"name": wanted.name, "kind": wanted.kind, "base_url": base_url, "models": wanted.models},
    )
    await request_scheduling_pass(session)
    return row


async def update_account(
    session: AsyncSession,
    sealer: Sealer,
    actor: Actor,
    *,
    account_id: str,
    owner: str | None,
    every: bool,
    wanted: UpdateUpstream,
    base_url: str | None,
    seen_version: int,
    found: Found | None,
) -> UpstreamAccount:
    """Change an account as it was seen at `seen_version`; `found` is what the check of a changed client came to.

    Raises `NotFound`, and `Conflict` for the environment's account, a name that is taken, an address that jobs still
    need, and a change that came between.
    """
    await session.execute(ACCOUNT_SLOTS.take(account_id))
    row = await get_account(session, account_id, owner=owner, every=every, lock=True)
    if row.version != seen_version:
        raise Conflict("The account was changed by somebody else at the same time. Look at it, then try again.")
    given = {name: getattr(wanted, name) for name in wanted.__struct_fields__ if getattr(wanted, name) is not UNSET}
    if wanted.name is not UNSET and wanted.name != row.name:
        await _check_name(session, row, wanted.name)
    if base_url is not None and base_url != row.base_url and await _live_jobs(session, account_id):
        raise Conflict(
            "Jobs still run at the account's address. Drain it, wait for them, then change the address.",
            code="upstream_in_use",
        )
    values: dict[str, Any] = {name: given[name] for name in PLAIN if name in given}
    if base_url is not None:
        values["base_url"] = base_url
    if wanted.credential is not UNSET:
        values.update(
            credential_sealed=seal_credential(sealer, account_id, wanted.credential), credential_set_at=func.now()
        )
    if "webhook_secret" in given:
        values["webhook_secret_sealed"] = _sealed_webhook_secret(sealer, account_id, given["webhook_secret"])
    if "drained" in given:
        values["drained_at"] = func.coalesce(UpstreamAccount.drained_at, func.now()) if given["drained"] else None
    released = wanted.held is False or (found is not None and found.error is None)
    if released:
        values.update(cool_down_until=None, cool_down_reason=None)
    if found is not None:
        values.update(found.values())
    await session.execute(
        update(UpstreamAccount)
        .where(UpstreamAccount.id == account_id)
        .values(**values, version=UpstreamAccount.version + 1, updated_at=func.now())
    )
    await session.refresh(row)
    await _tell(session, actor, row, given)
    if released:
        await _wake(session, account_id)
    await request_scheduling_pass(session)
    return row


async def delete_account(
    session: AsyncSession, actor: Actor, *, account_id: str, owner: str | None, every: bool
) -> None:
    """Take an account away and forget its credential. Raises `NotFound`, and `Conflict` while anything needs it."""
    await session.execute(ACCOUNT_SLOTS.take(account_id))
    row = await get_account(session, account_id, owner=owner, every=every, lock=True)
    if row.id == DEFAULT_ACCOUNT:
        raise _from_environment("deleted")
    if jobs := await _live_jobs(session, account_id):
        raise Conflict(
            f"Jobs that have not ended need the account: {', '.join(jobs)}. Drain it, then wait for them or cancel "
            "them.",
            code="upstream_in_use",
        )
    models = select(Model.name).where(Model.account_id == account_id, Model.deleted_at.is_(None)).limit(5)
    if names := (await session.scalars(models)).all():
        raise Conflict(
            f"The account serves tuned models: {', '.join(names)}. Delete them first.", code="upstream_in_use"
        )
    await session.execute(
        update(UpstreamAccount)
        .where(UpstreamAccount.id == account_id)
        .values(
            deleted_at=func.now(),
            credential_sealed=None,
            webhook_secret_sealed=None,
            name=None,
            version=UpstreamAccount.version + 1,
            updated_at=func.now(),
        )
    )
    await audit.record(
        session,
        actor,
        "upstream_account.deleted",
        project_id=row.project_id,
        resource_id=account_id,
        data={"name": row.name},
    )


async def active_jobs(session: AsyncSession, account_ids: list[str]) -> dict[str, int]:
    """How many jobs hold a slot of each account."""
    rows = await session.execute(
        select(Job.account_id, func.count())
        .where(Job.account_id.in_(account_ids), Job.state.in_(ACTIVE))
        .group_by(Job.account_id)
    )
    return {account_id or "": count for account_id, count in rows}


def check_changeable(row: UpstreamAccount, wanted: UpdateUpstream) -> None:
    """Refuse what an update may not change before anything is called. Raises `Conflict` and `InvalidRequest`."""
    if row.id == DEFAULT_ACCOUNT and any(
        getattr(wanted, name) is not UNSET for name in (*OF_THE_CLIENT, "name", "deployments")
    ):
        raise _from_environment("given another name, address or credential")
    if wanted.base_url is not UNSET and wanted.credential is UNSET:
        raise InvalidRequest(
            "Another base_url needs the credential again: a stored one is never sent to another address.",
            param="credential",
            code="missing_required_parameter",
        )


async def _check_name(session: AsyncSession, row: UpstreamAccount, name: str) -> None:
    taken = await session.scalar(
        select(UpstreamAccount.id).where(
            UpstreamAccount.project_id.is_not_distinct_from(row.project_id), UpstreamAccount.name == name
        )
    )
    if taken is not None or name == DEFAULT_ACCOUNT:
        raise _name_taken(name)


async def _live_jobs(session: AsyncSession, account_id: str) -> list[str]:
    needs = or_(Job.account_id == account_id, Job.requested_account_id == account_id)
    query = select(Job.id).where(needs, Job.finished_at.is_(None)).order_by(Job.id).limit(5)
    return list(await session.scalars(query))


async def _wake(session: AsyncSession, account_id: str) -> None:
    """Let the account's jobs look for themselves now, not when the hold would have been over."""
    await session.execute(
        update(Job)
        .where(Job.account_id == account_id, Job.state.in_(ACTIVE), Job.due_at.is_not(None))
        .values(due_at=func.clock_timestamp())
    )


def _sealed_webhook_secret(sealer: Sealer, account_id: str, secret: str | None) -> bytes | None:
    return None if secret is None else seal_webhook_secret(sealer, account_id, secret)


async def _tell(session: AsyncSession, actor: Actor, row: UpstreamAccount, given: dict[str, Any]) -> None:
    credential = given.pop("credential", None)
    if "webhook_secret" in given:
        given["webhook_secret"] = "removed" if given["webhook_secret"] is None else "set"
    if given or credential is None:
        await audit.record(
            session, actor, "upstream_account.updated", project_id=row.project_id, resource_id=row.id, data=given
        )
    if credential is not None:
        await audit.record(
            session, actor, "upstream_account.credential_rotated", project_id=row.project_id, resource_id=row.id
        )


def _name_taken(name: str) -> Conflict:
    return Conflict(f"There is an upstream account called {name!r}. Take another name.", code="upstream_name_taken")


def _from_environment(what: str) -> Conflict:
    return Conflict(
        f"The default account is described by OPENAI_BASE_URL and OPENAI_API_KEY and cannot be {what} here. Drain it "
        "to send it no more jobs.",
        code="upstream_from_environment",
    )
