"""Creating, promoting and deleting aliases, in the caller's transaction; one action at a time in each project.

A promotion applies from the next request on; a request that has begun keeps its model. A roll-back undoes the present
promotion, and a second roll-back the promotion before that; none returns to a model that was rolled back.
"""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import Catalogue
from service.database.tables import AliasPromotion, ModelAlias
from service.errors import Conflict, InvalidRequest
from service.identity import audit
from service.identity.audit import Actor
from service.ids import new_id
from service.models.aliases.names import check_not_a_base_model
from service.models.aliases.queries import PREFIX, find_alias, get_alias, get_promotion, lock_aliases
from service.models.aliases.schemas import CreateAlias, Promote, RollBack
from service.models.queries import find_model
from service.states import AliasAction
from service.webhooks import outbox

MAX_ALIASES = 500
"""The largest number of aliases of one project."""

AUDIT_TYPES: dict[AliasAction, str] = {
    "created": "model_alias.created",
    "promoted": "model_alias.promoted",
    "rolled_back": "model_alias.rolled_back",
    "deployed": "model_alias.promoted",
}
"""The type of the audit log entry for each action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPromotion:
    """A promotion to record: its action, the key or job behind it, and the version that a roll-back returns to."""

    model: str
    action: AliasAction
    undo_version: int | None
    actor: Actor
    reason: str | None = None
    job_id: str | None = None


async def create_alias(
    session: AsyncSession, *, project_id: str, actor: Actor, body: CreateAlias, catalogue: Catalogue
) -> ModelAlias:
    """Create an alias. Raises `InvalidRequest` for an invalid name or model, `Conflict` for a name that is taken."""
    check_not_a_base_model(catalogue, body.name, param="name")
    await lock_aliases(session, project_id)
    await _check_target(session, project_id, body.model, catalogue)
    if await find_alias(session, project_id, body.name) is not None:
        raise Conflict(
            f"The project has an alias '{body.name}' already. Promote it instead, or take another name.",
            param="name",
            code="model_alias_name_taken",
        )
    await _check_alias_count(session, project_id)
    promotion = NewPromotion(model=body.model, action="created", undo_version=None, actor=actor, reason=body.reason)
    return await _create(session, project_id, body.name, promotion)


async def promote(
    session: AsyncSession, *, project_id: str, actor: Actor, name: str, body: Promote, catalogue: Catalogue
) -> ModelAlias:
    """Point an alias at another model; promoting its present model has no effect.

    Raises `NotFound`, `InvalidRequest` for an invalid model, and `Conflict` if the alias has been promoted meanwhile.
    """
    await lock_aliases(session, project_id)
    alias = await get_alias(session, project_id, name)
    _check_expected(alias, body.expected_model)
    await _check_target(session, project_id, body.model, catalogue)
    if alias.model == body.model:
        return alias
    promotion = NewPromotion(
        model=body.model, action="promoted", undo_version=alias.version, actor=actor, reason=body.reason
    )
    return await _repoint(session, alias, promotion)


async def roll_back(
    session: AsyncSession, *, project_id: str, actor: Actor, name: str, body: RollBack, catalogue: Catalogue
) -> ModelAlias:
    """Undo promotions.

    Raises `NotFound`, `InvalidRequest` for a version that is not an earlier one, and `Conflict` if there is no earlier
    version, if its model is deleted, or if the alias has been promoted meanwhile.
    """
    await lock_aliases(session, project_id)
    alias = await get_alias(session, project_id, name)
    _check_expected(alias, body.expected_model)
    version = body.version
    if version is None:
        present = await get_promotion(session, alias, alias.version)
        version = present.undo_version if present is not None else None
        if version is None:
            raise Conflict(
                f"The alias '{alias.name}' has no earlier model to go back to.", code="model_alias_has_no_earlier"
            )
    target = await get_promotion(session, alias, version) if version < alias.version else None
    if target is None:
        raise InvalidRequest(
            f"The alias '{alias.name}' has no earlier version {version}. See its history.",
            param="version",
            code="model_alias_version_not_found",
        )
    if not await _is_known(session, project_id, target.model, catalogue):
        raise Conflict(
            f"Version {version} of the alias '{alias.name}' was {target.model}, which is gone. Name another version.",
            param="version",
            code="model_alias_model_gone",
        )
    promotion = NewPromotion(
        model=target.model,
        action="rolled_back",
        undo_version=target.undo_version,
        actor=actor,
        reason=body.reason,
    )
    return await _repoint(session, alias, promotion)


async def deploy(
    session: AsyncSession, *, project_id: str, name: str, model: str, job_id: str, catalogue: Catalogue
) -> str | None:
    """Point an alias at the model of a succeeded job; a missing alias is created.

    Returns why that is impossible, else None: a job succeeds in either case.
    """
    await lock_aliases(session, project_id)
    alias = await find_alias(session, project_id, name)
    if alias is not None:
        await _repoint(session, alias, _deployment(model, job_id, undo_version=alias.version))
        return None
    try:
        check_not_a_base_model(catalogue, name, param="deploy.alias")
        await _check_alias_count(session, project_id)
    except InvalidRequest as refusal:
        return refusal.message
    await _create(session, project_id, name, _deployment(model, job_id, undo_version=None))
    return None


async def delete_alias(session: AsyncSession, *, project_id: str, actor: Actor, name: str) -> str:
    """Delete an alias with its history; later requests with its name are refused. Returns its id."""
    await lock_aliases(session, project_id)
    alias = await get_alias(session, project_id, name)
    await session.delete(alias)
    await audit.record(
        session,
        actor,
        "model_alias.deleted",
        project_id=project_id,
        resource_id=alias.id,
        resource_name=alias.name,
        data={"name": alias.name, "model": alias.model},
    )
    return alias.id


def _deployment(model: str, job_id: str, *, undo_version: int | None) -> NewPromotion:
    return NewPromotion(model=model, action="deployed", undo_version=undo_version, actor=audit.SYSTEM, job_id=job_id)


async def _is_known(session: AsyncSession, project_id: str, model: str, catalogue: Catalogue) -> bool:
    """Called with the aliases locked, so that the model cannot be deleted before the alias points at it."""
    return catalogue.find(model) is not None or await find_model(session, project_id, model) is not None


async def _check_target(session: AsyncSession, project_id: str, model: str, catalogue: Catalogue) -> None:
    if not await _is_known(session, project_id, model, catalogue):
        raise InvalidRequest(
            f"The model '{model[:128]}' does not exist or you may not use it. GET /v1/models lists yours.",
            param="model",
            code="model_not_found",
        )


def _check_expected(alias: ModelAlias, expected: str | None) -> None:
    if expected is not None and alias.model != expected:
        raise Conflict(
            f"The alias '{alias.name}' points at {alias.model}, not at {expected[:128]}. Look at its history.",
            param="expected_model",
            code="model_alias_moved",
        )


async def _check_alias_count(session: AsyncSession, project_id: str) -> None:
    count = await session.scalar(select(func.count()).where(ModelAlias.project_id == project_id))
    if (count or 0) >= MAX_ALIASES:
        raise InvalidRequest(
            f"A project has at most {MAX_ALIASES} aliases. Delete one that is not needed.",
            code="too_many_model_aliases",
        )


async def _create(session: AsyncSession, project_id: str, name: str, promotion: NewPromotion) -> ModelAlias:
    alias = ModelAlias(id=new_id(PREFIX), project_id=project_id, name=name, model=promotion.model, version=1)
    session.add(alias)
    await _record(session, alias, promotion, previous=None)
    return alias


async def _repoint(session: AsyncSession, alias: ModelAlias, promotion: NewPromotion) -> ModelAlias:
    previous = alias.model
    alias.model, alias.version = promotion.model, alias.version + 1
    alias.updated_at = func.now()
    await _record(session, alias, promotion, previous=previous)
    return alias


async def _record(session: AsyncSession, alias: ModelAlias, promotion: NewPromotion, *, previous: str | None) -> None:
    """Write the alias, its promotion, the audit log entry and the webhook event in the same transaction."""
    await session.flush()
    await session.refresh(alias)
    session.add(
        AliasPromotion(
            alias_id=alias.id,
            version=alias.version,
            project_id=alias.project_id,
            model=promotion.model,
            action=promotion.action,
            reason=promotion.reason,
            key_id=promotion.actor.key_id,
            job_id=promotion.job_id,
            undo_version=promotion.undo_version,
        )
    )
    data = {
        "alias": alias.name,
        "model": alias.model,
        "previous_model": previous,
        "version": alias.version,
        "reason": promotion.reason,
        "job_id": promotion.job_id,
    }
    await audit.record(
        session,
        promotion.actor,
        AUDIT_TYPES[promotion.action],
        project_id=alias.project_id,
        resource_id=alias.id,
        data=data,
    )
    await outbox.emit(
        session,
        project_id=alias.project_id,
        type="model_alias.promoted",
        subject=alias.id,
        data={"project_id": alias.project_id, "action": promotion.action, **data},
        now=dt.datetime.now(dt.UTC),
    )
