"""What depends on a tuned model, and why it can or cannot be deleted. Pure but for what it is given."""

from collections.abc import Sequence
from dataclasses import dataclass

_MOST_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependents:
    """Whatever would break with a model and its `checkpoints`: aliases that stand for one of them, jobs that train from
    one and runs that ask one and have not ended, and in how many other projects it may be used."""

    checkpoints: Sequence[str]
    aliases: Sequence[str]
    jobs: Sequence[str]
    runs: Sequence[str]
    granted_projects: int


def in_the_way(found: Dependents, *, force: bool) -> str | None:
    """Why the model cannot be deleted, with what to do first; None if it can.

    `force` goes past permissions alone: what the project has in its own hands is to be ended or moved before.
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
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{', '.join(names[:_MOST_NAMED])}{more}"
