"""The wire types of checkpoint permissions, as the SDK's `types.fine_tuning.checkpoints`."""

from typing import Annotated, Literal

import msgspec

from service.database.tables import CheckpointPermission
from service.http.wire_types import PageQuery, RequestModel, unix

MAX_PROJECTS = 100


class CreatePermissions(RequestModel, frozen=True, kw_only=True):
    """The projects that may use the model from now on."""

    project_ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_PROJECTS)]


class ListPermissions(PageQuery, frozen=True, kw_only=True):
    """The query of a list; `project_id` filters by the project that holds the permission."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
    order: Literal["ascending", "descending"] = "descending"
    project_id: str | None = None


class PermissionObject(msgspec.Struct, frozen=True, kw_only=True):
    """The permission of a project to use a model."""

    id: str
    object: Literal["checkpoint.permission"] = "checkpoint.permission"
    project_id: str
    created_at: int


class PermissionDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The response to a deletion."""

    id: str
    object: Literal["checkpoint.permission"] = "checkpoint.permission"
    deleted: bool = True


def show_permission(row: CheckpointPermission) -> PermissionObject:
    """A permission as the API shows it."""
    return PermissionObject(id=row.id, project_id=row.project_id, created_at=unix(row.created_at))
