"""`/v1/models`."""

from typing import Any

from litestar import delete, get
from litestar.datastructures import State

from .. import catalogue
from ..store import Store
from .catalogue_lookup import find_model
from .errors import ApiError
from .lists import AnyRequest, only_queries


@get("/v1/models", sync_to_thread=True)
def list_models(request: AnyRequest, state: State) -> dict[str, Any]:
    """Base models and fine-tuned ones; checkpoints are left to their job's list."""
    only_queries(request)
    tuned = state.store.rows("SELECT * FROM models WHERE NOT is_checkpoint ORDER BY seq DESC")
    return {"object": "list", "data": [*catalogue.base_models(), *(_show(row) for row in tuned)]}


@get("/v1/models/{name:str}", sync_to_thread=True)
def get_model(name: str, state: State) -> dict[str, Any]:
    """One model, checkpoints included."""
    if catalogue.is_base(name):
        return catalogue.base_model(name)
    find_model(state.store, name)
    return _show(state.store.row("SELECT * FROM models WHERE id = ?", name))


@delete("/v1/models/{name:str}", status_code=200, sync_to_thread=True)
def delete_model(name: str, state: State) -> dict[str, Any]:
    """Remove a fine-tuned model or a checkpoint; its weights go when no other name and no live job needs them."""
    store: Store = state.store
    if catalogue.is_base(name):
        raise ApiError(403, "A base model cannot be deleted.", param="model", code="model_not_deletable")
    weights = find_model(store, name).weights
    with store.write() as db:
        db.execute("DELETE FROM models WHERE id = ?", (name,))
        needed = db.execute(
            "SELECT 1 FROM models WHERE weights = ?1 UNION ALL SELECT 1 FROM jobs"
            " WHERE ?1 IN (start_weights, resume_weights) AND status NOT IN ('succeeded', 'failed', 'cancelled')",
            (weights,),
        ).fetchone()
    if weights is not None and needed is None:
        store.weights_path(weights).unlink(missing_ok=True)
    return {"id": name, "object": "model", "deleted": True}


def _show(row: Any) -> dict[str, Any]:
    return {"id": row["id"], "object": "model", "created": row["created_at"], "owned_by": "trainer"}
