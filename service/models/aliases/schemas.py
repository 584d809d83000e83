"""Model aliases on the wire."""

from typing import Annotated, Literal

import msgspec

from service.database.tables import AliasPromotion, ModelAlias
from service.http.wire_types import RequestModel, unix
from service.models.aliases.names import AliasName

Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class CreateAlias(RequestModel, frozen=True, kw_only=True):
    """The body of a creation."""

    name: AliasName
    model: str
    reason: Reason | None = None


class Promote(RequestModel, frozen=True, kw_only=True):
    """Where the alias shall point. With `expected_model`, only if it points there now."""

    model: str
    expected_model: str | None = None
    reason: Reason | None = None


class RollBack(RequestModel, frozen=True, kw_only=True):
    """Back to an earlier version of the history; without one, the present promotion is undone."""

    version: Annotated[int, msgspec.Meta(ge=1)] | None = None
    expected_model: str | None = None
    reason: Reason | None = None


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """A stable name, and the model that it stands for now."""

    id: str
    object: Literal["model_alias"] = "model_alias"
    created_at: int
    updated_at: int
    name: str
    model: str
    version: int


class AliasDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a deletion."""

    id: str
    object: Literal["model_alias.deleted"] = "model_alias.deleted"
    deleted: bool = True


class By(msgspec.Struct, frozen=True, kw_only=True):
    """Who promoted: a key, or the job that was created with `deploy`."""

    type: Literal["api_key", "job"]
    id: str


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an alias's history: where it pointed from then on, who pointed it there, and why."""

    id: str
    object: Literal["model_alias.promotion"] = "model_alias.promotion"
    version: int
    model: str
    action: Literal["created", "promoted", "rolled_back", "deployed"]
    reason: str | None
    by: By
    created_at: int


def show_alias(row: ModelAlias) -> Alias:
    """A row on the wire."""
    return Alias(
        id=row.id,
        created_at=unix(row.created_at),
        updated_at=unix(row.updated_at),
        name=row.name,
        model=row.model,
        version=row.version,
    )


def show_promotion(row: AliasPromotion) -> Promotion:
    """A line of the history on the wire."""
    by = By(type="api_key", id=row.key_id) if row.key_id is not None else By(type="job", id=row.job_id or "")
    return Promotion(
        id=f"{row.alias_id}.v{row.version}",
        version=row.version,
        model=row.model,
        action=row.action,
        reason=row.reason,
        by=by,
        created_at=unix(row.created_at),
    )
