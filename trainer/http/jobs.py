"""`/v1/fine_tuning/jobs`."""

import json
import time
from functools import partial
from typing import Any

from litestar import get, post
from litestar.datastructures import State

from .. import jobs
from ..leftovers import remove_leftovers
from ..store import Store
from .create import CreateJob, decode, new_job
from .errors import ApiError, not_found
from .lists import AnyRequest, only_queries, page


@post("/v1/fine_tuning/jobs", status_code=200, sync_to_thread=True)
def create_job(request: AnyRequest, body: bytes, state: State) -> dict[str, Any]:
    """Accept a job. Its files are validated afterwards, and the job fails if they are invalid."""
    new = new_job(
        state.store, state.engine, decode(body, CreateJob), serves_adapters_only=bool(state.settings.serve_urls)
    )
    return show_job(state.store, _find(state.store, jobs.create_job(state.store, new)))


@get("/v1/fine_tuning/jobs", sync_to_thread=True)
def list_jobs(request: AnyRequest, state: State) -> dict[str, Any]:
    """Jobs, newest first; `metadata[key]=value` (all must match) or `metadata=null` narrows the list."""
    only_queries(request, "after", "limit", "metadata", "metadata[")
    show = partial(show_job, state.store)
    return page(state.store, request, table="jobs", where=_metadata(request), show=show, default_limit=20)


@get("/v1/fine_tuning/jobs/{job_id:str}", sync_to_thread=True)
def get_job(job_id: str, state: State) -> dict[str, Any]:
    """Retrieve one job with its current status."""
    return show_job(state.store, _find(state.store, job_id))


@post("/v1/fine_tuning/jobs/{job_id:str}/cancel", status_code=200, sync_to_thread=True)
def cancel_job(job_id: str, state: State) -> dict[str, Any]:
    """Cancel a job; idempotent."""
    _find(state.store, job_id)
    shown = _changed(state.store, job_id, jobs.cancel(state.store, job_id))
    remove_leftovers(state.store, state.storage, job_id)
    return shown


@post("/v1/fine_tuning/jobs/{job_id:str}/pause", status_code=200, sync_to_thread=True)
def pause_job(job_id: str, state: State) -> dict[str, Any]:
    """Pause a job."""
    _find(state.store, job_id)
    return _changed(state.store, job_id, jobs.pause(state.store, job_id))


@post("/v1/fine_tuning/jobs/{job_id:str}/resume", status_code=200, sync_to_thread=True)
def resume_job(job_id: str, state: State) -> dict[str, Any]:
    """Resume a paused job."""
    _find(state.store, job_id)
    return _changed(state.store, job_id, jobs.resume(state.store, job_id))


@get("/v1/fine_tuning/jobs/{job_id:str}/events", sync_to_thread=True)
def list_events(job_id: str, request: AnyRequest, state: State) -> dict[str, Any]:
    """A job's events, newest first."""
    only_queries(request, "after", "limit")
    _find(state.store, job_id)
    where = [("job_id = ?", job_id)]
    return page(state.store, request, table="events", where=where, show=_show_event, default_limit=20)


@get("/v1/fine_tuning/jobs/{job_id:str}/checkpoints", sync_to_thread=True)
def list_checkpoints(job_id: str, request: AnyRequest, state: State) -> dict[str, Any]:
    """A job's checkpoints, newest first."""
    only_queries(request, "after", "limit")
    _find(state.store, job_id)
    where = [("job_id = ?", job_id)]
    return page(state.store, request, table="checkpoints", where=where, show=_show_checkpoint, default_limit=10)


def show_job(store: Store, row: Any) -> dict[str, Any]:
    """A job's row as OpenAI's object; `paused` is the one status that OpenAI's enum lacks.

    A job is shown as running while its model is published to vLLM.

    `adapter`, `queue_place` and `usage` are fields of this trainer's own.
    """
    settings = {
        "n_epochs": json.loads(row["n_epochs"]),
        "batch_size": json.loads(row["batch_size"]),
        "learning_rate_multiplier": json.loads(row["rate"]),
    }
    of_method = settings | ({"beta": json.loads(row["beta"])} if row["method"] == "dpo" else {})
    ended = row["status"] in jobs.ENDED
    return {
        "id": row["id"],
        "object": "fine_tuning.job",
        "created_at": row["created_at"],
        "finished_at": row["finished_at"],
        "estimated_finish": _estimated_finish(row),
        "model": row["model"],
        "fine_tuned_model": row["fine_tuned_model"],
        "organization_id": "org-trainer",
        "status": "running" if row["status"] == "publishing" else row["status"],
        "training_file": row["training_file"],
        "validation_file": row["validation_file"],
        "result_files": [row["result_file"]] if row["result_file"] else [],
        "trained_tokens": row["trained_tokens"] if ended else None,
        "error": json.loads(row["error"]) if row["error"] else None,
        "hyperparameters": settings,
        "seed": row["seed"],
        "integrations": [],
        "user_provided_suffix": row["suffix"],
        "metadata": json.loads(row["metadata"]) if row["metadata"] else None,
        "method": {"type": row["method"], row["method"]: {"hyperparameters": of_method}},
        "adapter": json.loads(row["adapter"]) if row["adapter"] else None,
        "queue_place": jobs.queue_place(store, row),
        "usage": {
            "trained_tokens": row["trained_tokens"],
            "gpu_seconds": round(row["gpu_seconds"], 3),
            "process_seconds": round(row["process_seconds"], 3),
        },
    }


def _estimated_finish(row: Any) -> int | None:
    if row["status"] != "running" or row["step_seconds"] is None:
        return None
    return int(time.time() + (row["total_steps"] - row["step"]) * row["step_seconds"]) + 1


def _show_event(row: Any) -> dict[str, Any]:
    data = json.loads(row["data"]) if row["data"] else {}
    return {
        "id": row["id"],
        "object": "fine_tuning.job.event",
        "created_at": row["created_at"],
        "level": row["level"],
        "message": row["message"],
        "type": "metrics" if data else "message",
        "data": data,
    }


def _show_checkpoint(row: Any) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "fine_tuning.job.checkpoint",
        "created_at": row["created_at"],
        "fine_tuned_model_checkpoint": row["name"],
        "fine_tuning_job_id": row["job_id"],
        "metrics": json.loads(row["metrics"]),
        "step_number": row["step"],
    }


def _find(store: Store, job_id: str) -> Any:
    row = store.row("SELECT * FROM jobs WHERE id = ?", job_id)
    if row is None:
        raise not_found("fine-tuning job", job_id, param="fine_tuning_job_id", code="fine_tune_not_found")
    return row


def _changed(store: Store, job_id: str, changed: bool) -> dict[str, Any]:
    row = _find(store, job_id)
    if not changed:
        ended = f"The job has ended ({row['status']})."
        published = "The job has been trained, and its model is being published: it can only be cancelled."
        raise ApiError(400, published if row["status"] == "publishing" else ended, code="invalid_job_state")
    return show_job(store, row)


def _metadata(request: AnyRequest) -> list[tuple[str, object]]:
    where: list[tuple[str, object]] = []
    for name, value in request.query_params.multi_items():
        if name == "metadata":
            if value != "null":
                raise ApiError(400, "metadata takes null, or use metadata[key]=value.", param="metadata")
            where.append(("metadata IS NULL AND ? IS NOT NULL", value))
        elif name.startswith("metadata["):
            pair = json.dumps([name[len("metadata[") : -1], value])
            where.append(
                (
                    "EXISTS (SELECT 1 FROM json_each(jobs.metadata) AS pair, (SELECT ? AS filter)"
                    " WHERE pair.key = json_extract(filter, '$[0]') AND pair.value = json_extract(filter, '$[1]'))",
                    pair,
                )
            )
    return where
