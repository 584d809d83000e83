"""Deleting projects and keeping data on the wire; our own, since the SDK has no such resources."""

from typing import Annotated, Literal

import msgspec

from service.database.tables import Deletion, Project
from service.deletions.queries import Left, Open
from service.http.wire_types import RequestModel, unix


class ProjectDeletion(msgspec.Struct, frozen=True, kw_only=True):
    """How far the deletion of a project is. `waiting_for` says what has to end first.

    `upstream_failed` counts copies and models that an upstream has refused to delete for a day: the project stays
    `deleting` until the platform team has seen to them (`tunegate deletions`).
    """

    id: str
    object: Literal["organization.project.deletion"] = "organization.project.deletion"
    status: Literal["deleting", "deleted"]
    requested_at: int
    finished_at: int | None
    jobs_left: int
    files_left: int
    upstream_left: int
    upstream_failed: int
    waiting_for: str | None


class UpdateRetention(RequestModel, frozen=True, kw_only=True):
    """For how many days a project's files are kept after a job last used them; null keeps them."""

    retention_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] | None


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long a project keeps its files."""

    project_id: str
    object: Literal["organization.project.retention"] = "organization.project.retention"
    retention_days: int | None


def show_deletion(project: Project, work: Deletion, left: Left, upstream: Open) -> ProjectDeletion:
    """A project's deletion as the API shows it."""
    return ProjectDeletion(
        id=project.id,
        status="deleted" if project.status == "deleted" else "deleting",
        requested_at=unix(work.created_at),
        finished_at=None if work.finished_at is None else unix(work.finished_at),
        jobs_left=left.jobs,
        files_left=left.files,
        upstream_left=upstream.pending,
        upstream_failed=upstream.failed,
        waiting_for=work.last_error,
    )


def show_retention(project: Project) -> Retention:
    """A project's retention as the API shows it."""
    return Retention(project_id=project.id, retention_days=project.retention_days)
