"""What depends on a model, on the wire."""

from typing import Literal

import msgspec

from service.http.wire_types import RequestModel
from service.models.deletion.dependents import Dependents, in_the_way


class DeleteQuery(RequestModel, frozen=True, kw_only=True):
    """The query of a deletion. `force` deletes a model that other projects may use."""

    force: bool = False


class ModelDependents(msgspec.Struct, frozen=True, kw_only=True):
    """What depends on a tuned model. `reason` is why a DELETE would be refused now, with what to do first.

    `checkpoints` go with the model. `granted_projects` says in how many other projects it may be used.
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
    """What was found, on the wire."""
    reason = in_the_way(found, force=False)
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
