"""The dependents of a tuned model, and whether they allow its deletion. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

_MAX_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependents:
    """What a deletion of a model and its `checkpoints` would break: aliases that point at one of them, unfinished jobs
    that train from one, unfinished runs that call one, and the number of other projects that may use the model."""

    checkpoints: Sequence[str]
    aliases: Sequence[str]
    jobs: Sequence[str]
    runs: Sequence[str]
    granted_projects: int


def deletion_obstacle(found: Dependents, *, force: bool) -> str | None:
    """Why the model cannot be deleted, and what to do first; None if it can.

    `force` overrides the permissions of other projects only; the project resolves its own dependents first.
    """
    reasons: list[str] = []
    if found.aliases:
        reasons.append(f"Aliases stand for this model: {_named(found.aliases)}. Promote them to another model first.")
    if found.jobs:
        reasons.append(f"Jobs that have not ended train from this model: {_named(found.jobs)}. Cancel them, or wait.")
    if found.runs:
        reasons.append(f"Runs that have not ended ask this model: {_named(found.runs)}. Cancel them, or wait.")
    if found.granted_projects and not force:
        projects = "another project" if found.granted_projects == 1 else f"{found.granted_projects} other projects"
        reasons.append(
            f"Permissions let {projects} use it. Have an administrator take them back, or delete it with ?force=true."
        )
    return " ".join(reasons) or None


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return f"{', '.join(names[:_MAX_NAMED])}{more}"
