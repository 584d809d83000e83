"""Creates, updates and deletes upstream accounts, in the caller's transaction, after the caller checked the upstream.

An account's row is locked after the advisory lock under which its slots are counted, so that no job is admitted to an
account that is being deleted.
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
from service.upstreams.port import ErrorKind
from service.upstreams.queries import get_account
from service.upstreams.schemas import CreateUpstream, UpdateUpstream

MAX_ACCOUNTS_PER_PROJECT = 20
"""The largest number of accounts of one project."""

CONNECTION_FIELDS = ("base_url", "credential", "api_version")
PLAIN_FIELDS = (
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
class CheckResult:
    """The result of checking an account's upstream: the kind of error, or None."""

    error: ErrorKind | None

    def values(self) -> dict[str, Any]:
        """The values of the account's health columns."""
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
    request: CreateUpstream,
    base_url: str,
    check: CheckResult,
) -> UpstreamAccount:
    """Create an account of a project, or a shared one (`owner` None).

    Raises `Conflict` for a name that is taken, and `InvalidRequest` above the project's limit.
    """
    if owner is not None:
        await session.execute(PROJECT_UPSTREAMS.take(owner))
        count = await session.scalar(
            select(func.count()).where(UpstreamAccount.project_id == owner, UpstreamAccount.deleted_at.is_(None))
        )
        if (count or 0) >= MAX_ACCOUNTS_PER_PROJECT:
            raise InvalidRequest(
                f"A project has at most {MAX_ACCOUNTS_PER_PROJECT} upstream accounts. Delete one that is not needed.",
                code="too_many_upstreams",
            )
    if request.name == DEFAULT_ACCOUNT:
        raise _name_taken(request.name)
    values = {name: getattr(request, name) for name in PLAIN_FIELDS if name in request.__struct_fields__}
    row: UpstreamAccount | None = await session.scalar(
        insert(UpstreamAccount)
        .values(
            **values,
            **check.values(),
            id=account_id,
            project_id=owner,
            kind=request.kind,
            base_url=base_url,
            credential_sealed=seal_credential(sealer, account_id, request.credential),
            credential_set_at=func.now(),
            webhook_secret_sealed=_sealed_webhook_secret(sealer, account_id, request.webhook_secret),
        )
        .on_conflict_do_nothing()
        .returning(UpstreamAccount)
    )
    if row is None:
        raise _name_taken(request.name)
    await audit.record(
        session,
        actor,
        "upstream_account.created",
        project_id=owner,
        resource_id=account_id,
        data={"name": request.name, "kind": request.kind, "base_url": base_url, "models": request.models},
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
    any_owner: bool,
    request: UpdateUpstream,
    base_url: str | None,
    seen_version: int,
    check: CheckResult | None,
) -> UpstreamAccount:
    """Change an account that had `seen_version` when the caller read it; `check` is the result with the new connection.

    Raises `NotFound`, and `Conflict` for the environment's account, a name that is taken, an address that jobs still
    use, and an account that was changed since.
    """
    await session.execute(ACCOUNT_SLOTS.take(account_id))
    row = await get_account(session, account_id, owner=owner, any_owner=any_owner, lock=True)
    if row.version != seen_version:
        raise Conflict("The account was changed by another request at the same time. Retrieve it, then try again.")
    changes = {
        name: getattr(request, name) for name in request.__struct_fields__ if getattr(request, name) is not UNSET
    }
    if request.name is not UNSET and request.name != row.name:
        await _check_name(session, row, request.name)
    if base_url is not None and base_url != row.base_url and await _unfinished_jobs(session, account_id):
        raise Conflict(
            "Jobs still run at the account's address. Drain it, wait for them, then change the address.",
            code="upstream_in_use",
        )
    values: dict[str, Any] = {name: changes[name] for name in PLAIN_FIELDS if name in changes}
    if base_url is not None:
        values["base_url"] = base_url
    if request.credential is not UNSET:
        values.update(
            credential_sealed=seal_credential(sealer, account_id, request.credential), credential_set_at=func.now()
        )
    if "webhook_secret" in changes:
        values["webhook_secret_sealed"] = _sealed_webhook_secret(sealer, account_id, changes["webhook_secret"])
    if "drained" in changes:
        values["drained_at"] = func.coalesce(UpstreamAccount.drained_at, func.now()) if changes["drained"] else None
    ends_cool_down = request.held is False or (check is not None and check.error is None)
    if ends_cool_down:
        values.update(cool_down_until=None, cool_down_reason=None)
    if check is not None:
        values.update(check.values())
    await session.execute(
        update(UpstreamAccount)
        .where(UpstreamAccount.id == account_id)
        .values(**values, version=UpstreamAccount.version + 1, updated_at=func.now())
    )
    await session.refresh(row)
    await _audit_update(session, actor, row, changes)
    if ends_cool_down:
        await _make_jobs_due(session, account_id)
    await request_scheduling_pass(session)
    return row


async def delete_account(
    session: AsyncSession, actor: Actor, *, account_id: str, owner: str | None, any_owner: bool
) -> None:
    """Delete an account and its credential. Raises `NotFound`, and `Conflict` while jobs or tuned models use it."""
    await session.execute(ACCOUNT_SLOTS.take(account_id))
    row = await get_account(session, account_id, owner=owner, any_owner=any_owner, lock=True)
    if row.id == DEFAULT_ACCOUNT:
        raise _from_environment("deleted")
    if jobs := await _unfinished_jobs(session, account_id):
        raise Conflict(
            f"Jobs that have not ended use the account: {', '.join(jobs)}. Drain it, then wait for them or cancel "
            "them.",
            code="upstream_in_use",
        )
    models = select(Model.name).where(Model.account_id == account_id, Model.deleted_at.is_(None)).limit(5)
    if names := (await session.scalars(models)).all():
        raise Conflict(
            f"The account serves tuned models: {', '.join(names)}. Delete them first.", code="upstream_in_use"
        )
    name = row.name  # the update removes it from the row
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
        resource_name=name,
        data={"name": name},
    )


async def active_jobs(session: AsyncSession, account_ids: list[str]) -> dict[str, int]:
    """The number of jobs that occupy a slot of each account."""
    rows = await session.execute(
        select(Job.account_id, func.count())
        .where(Job.account_id.in_(account_ids), Job.state.in_(ACTIVE))
        .group_by(Job.account_id)
    )
    return {account_id or "": count for account_id, count in rows}


def check_changeable(row: UpstreamAccount, request: UpdateUpstream) -> None:
    """Refuse changes that are not allowed, before the upstream is called. Raises `Conflict` and `InvalidRequest`."""
    if row.id == DEFAULT_ACCOUNT and any(
        getattr(request, name) is not UNSET for name in (*CONNECTION_FIELDS, "name", "deployments")
    ):
        raise _from_environment("given another name, address or credential")
    if request.base_url is not UNSET and request.credential is UNSET:
        raise InvalidRequest(
            "Another base_url requires the credential again: a stored one is never sent to another address.",
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


async def _unfinished_jobs(session: AsyncSession, account_id: str) -> list[str]:
    uses_account = or_(Job.account_id == account_id, Job.requested_account_id == account_id)
    query = select(Job.id).where(uses_account, Job.finished_at.is_(None)).order_by(Job.id).limit(5)
    return list(await session.scalars(query))


async def _make_jobs_due(session: AsyncSession, account_id: str) -> None:
    """Make the account's jobs due now instead of at the end of the cool-down."""
    await session.execute(
        update(Job)
        .where(Job.account_id == account_id, Job.state.in_(ACTIVE), Job.due_at.is_not(None))
        .values(due_at=func.clock_timestamp())
    )


def _sealed_webhook_secret(sealer: Sealer, account_id: str, secret: str | None) -> bytes | None:
    return None if secret is None else seal_webhook_secret(sealer, account_id, secret)


async def _audit_update(session: AsyncSession, actor: Actor, row: UpstreamAccount, changes: dict[str, Any]) -> None:
    credential = changes.pop("credential", None)
    if "webhook_secret" in changes:
        changes["webhook_secret"] = "removed" if changes["webhook_secret"] is None else "set"
    if changes or credential is None:
        await audit.record(
            session, actor, "upstream_account.updated", project_id=row.project_id, resource_id=row.id, data=changes
        )
    if credential is not None:
        await audit.record(
            session, actor, "upstream_account.credential_rotated", project_id=row.project_id, resource_id=row.id
        )


def _name_taken(name: str) -> Conflict:
    return Conflict(
        f"There is already an upstream account called {name!r}. Choose another name.", code="upstream_name_taken"
    )


def _from_environment(change: str) -> Conflict:
    return Conflict(
        f"The default account is defined by OPENAI_BASE_URL and OPENAI_API_KEY and cannot be {change} here. Drain it "
        "to send it no more jobs.",
        code="upstream_from_environment",
    )
