"""The wire types of model aliases."""

from typing import Annotated, Literal

import msgspec

from service.database.tables import AliasPromotion, ModelAlias
from service.http.wire_types import RequestModel, unix
from service.models.aliases.names import AliasName
from service.states import AliasAction

Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class CreateAlias(RequestModel, frozen=True, kw_only=True):
    """The body of a creation."""

    name: AliasName
    model: str
    reason: Reason | None = None


class Promote(RequestModel, frozen=True, kw_only=True):
    """The model to point the alias at. With `expected_model`, only if the alias points at that one now."""

    model: str
    expected_model: str | None = None
    reason: Reason | None = None


class RollBack(RequestModel, frozen=True, kw_only=True):
    """The earlier version to return to; without one, the present promotion is undone."""

    version: Annotated[int, msgspec.Meta(ge=1)] | None = None
    expected_model: str | None = None
    reason: Reason | None = None


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """A stable name, and the model that it points at now."""

    id: str
    object: Literal["model_alias"] = "model_alias"
    created_at: int
    updated_at: int
    name: str
    model: str
    version: int


class AliasDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The response to a deletion."""

    id: str
    object: Literal["model_alias.deleted"] = "model_alias.deleted"
    deleted: bool = True


class PromotedBy(msgspec.Struct, frozen=True, kw_only=True):
    """The API key that promoted the model, or the job that was created with `deploy`."""

    type: Literal["api_key", "job"]
    id: str


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """One promotion of an alias's history: the model from then on, who promoted it, and why."""

    id: str
    object: Literal["model_alias.promotion"] = "model_alias.promotion"
    version: int
    model: str
    action: AliasAction
    reason: str | None
    by: PromotedBy
    created_at: int


def show_alias(row: ModelAlias) -> Alias:
    """An alias as the API shows it."""
    return Alias(
        id=row.id,
        created_at=unix(row.created_at),
        updated_at=unix(row.updated_at),
        name=row.name,
        model=row.model,
        version=row.version,
    )


def show_promotion(row: AliasPromotion) -> Promotion:
    """A promotion as the API shows it."""
    by = (
        PromotedBy(type="api_key", id=row.key_id)
        if row.key_id is not None
        else PromotedBy(type="job", id=row.job_id or "")
    )
    return Promotion(
        id=f"{row.alias_id}.v{row.version}",
        version=row.version,
        model=row.model,
        action=row.action,
        reason=row.reason,
        by=by,
        created_at=unix(row.created_at),
    )
