"""`/v1/models`."""

from dataclasses import asdict
from typing import Any

from litestar import delete, get
from litestar.datastructures import State

from ..engines.port import Base
from ..leftovers import remove_leftovers
from ..store import Store
from ..vllm.publisher import Publisher
from .catalogue_lookup import find_base, find_model
from .errors import ApiError
from .lists import AnyRequest, only_queries

_CREATED = 1_760_000_000
"""Base models have no time of their own."""


@get("/v1/models", sync_to_thread=True)
def list_models(request: AnyRequest, state: State) -> dict[str, Any]:
    """Base models and fine-tuned ones that answer; checkpoints are left to their job's list."""
    only_queries(request)
    tuned = state.store.rows("SELECT * FROM models WHERE NOT is_checkpoint ORDER BY seq DESC")
    publisher: Publisher | None = state.publisher
    if publisher is not None:
        tuned = [row for row in tuned if publisher.has_answered(row["id"])]
    return {"object": "list", "data": [*map(_show_base, state.engine.bases()), *(_show(row) for row in tuned)]}


@get("/v1/models/{name:str}", sync_to_thread=True)
def get_model(name: str, state: State) -> dict[str, Any]:
    """One model, checkpoints included."""
    base = find_base(state.engine, name)
    if base is not None:
        return _show_base(base)
    find_model(state.store, state.engine, name)
    return _show(state.store.row("SELECT * FROM models WHERE id = ?", name))


@delete("/v1/models/{name:str}", status_code=200, sync_to_thread=True)
def delete_model(name: str, state: State) -> dict[str, Any]:
    """Remove a fine-tuned model or a checkpoint; its weights go when no other name and no live job needs them."""
    store: Store = state.store
    if find_base(state.engine, name) is not None:
        raise ApiError(403, "A base model cannot be deleted.", param="model", code="model_not_deletable")
    found = find_model(store, state.engine, name)
    weights = found.weights
    publisher: Publisher | None = state.publisher
    with store.write() as db:
        db.execute("DELETE FROM models WHERE id = ?", (name,))
    if weights is not None:
        remove_leftovers(store, state.storage, weights.split("/")[1])
    if publisher is not None:
        publisher.remove(name, found.base)
    return {"id": name, "object": "model", "deleted": True}


def _show_base(base: Base) -> dict[str, Any]:
    """OpenAI's model object, and the fields of `Base` that the engine has."""
    fields = {name: value for name, value in asdict(base).items() if name != "name" and value is not None}
    return {"id": base.name, "object": "model", "created": _CREATED, "owned_by": "trainer", **fields}


def _show(row: Any) -> dict[str, Any]:
    return {"id": row["id"], "object": "model", "created": row["created_at"], "owned_by": "trainer"}
