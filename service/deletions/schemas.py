"""The wire types of project deletion and retention, which OpenAI's API does not have."""

from typing import Annotated, Literal

import msgspec

from service.database.tables import Deletion, Project
from service.deletions.queries import Remaining, UpstreamDeletions
from service.http.wire_types import RequestModel, unix


class ProjectDeletion(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a project's deletion. `waiting_for` says what has to end first.

    `upstream_failed` counts upstream files and models that an upstream has refused to delete for a day: the project
    stays `deleting` until an operator has resolved them (`tunegate deletions`).
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
    """The number of days for which a project's files are kept after a job last used them; null keeps them."""

    retention_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] | None


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """A project's retention of files, in days; null keeps them."""

    project_id: str
    object: Literal["organization.project.retention"] = "organization.project.retention"
    retention_days: int | None


def show_deletion(
    project: Project, deletion: Deletion, remaining: Remaining, upstream: UpstreamDeletions
) -> ProjectDeletion:
    """A project's deletion as the API shows it."""
    return ProjectDeletion(
        id=project.id,
        status="deleted" if project.status == "deleted" else "deleting",
        requested_at=unix(deletion.created_at),
        finished_at=None if deletion.finished_at is None else unix(deletion.finished_at),
        jobs_left=remaining.jobs,
        files_left=remaining.files,
        upstream_left=upstream.pending,
        upstream_failed=upstream.failed,
        waiting_for=deletion.last_error,
    )


def show_retention(project: Project) -> Retention:
    """A project's retention as the API shows it."""
    return Retention(project_id=project.id, retention_days=project.retention_days)
