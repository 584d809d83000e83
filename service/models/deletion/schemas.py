"""The wire types of deletions of models."""

from typing import Literal

import msgspec

from service.http.wire_types import RequestModel
from service.models.deletion.dependents import Dependents, deletion_obstacle


class DeleteQuery(RequestModel, frozen=True, kw_only=True):
    """The query of a deletion. `force` deletes a model that other projects may use."""

    force: bool = False


class ModelDependents(msgspec.Struct, frozen=True, kw_only=True):
    """What depends on a tuned model. `reason` says why a DELETE would be refused now, and what to do first.

    `checkpoints` are deleted with the model. `granted_projects` is the number of other projects that may use it.
    """

    object: Literal["model.dependents"] = "model.dependents"
    model: str
    deletable: bool
    reason: str | None
    checkpoints: list[str]
    aliases: list[str]
    jobs: list[str]
    runs: list[str]
    granted_projects: int


def show_dependents(model: str, found: Dependents) -> ModelDependents:
    """Dependents as the API shows them."""
    reason = deletion_obstacle(found, force=False)
    return ModelDependents(
        model=model,
        deletable=reason is None,
        reason=reason,
        checkpoints=list(found.checkpoints),
        aliases=list(found.aliases),
        jobs=list(found.jobs),
        runs=list(found.runs),
        granted_projects=found.granted_projects,
    )
