"""Parses the upstream's responses into the gateway's types. Pure.

The SDK does not validate responses, so nothing in them is trusted: a value of another type, or one that Postgres cannot
store (NUL, lone surrogates, numbers out of range), counts as missing. A job must end whatever its upstream responds.
"""

import math
from typing import Any

from openai import BaseModel

from service.states import EventLevel
from service.upstreams.port import UpstreamCheckpoint, UpstreamEvent, UpstreamJob

MAX_WHOLE_NUMBER = 10**11
"""More than any count of tokens, and as Unix seconds still a valid date."""

MAX_GPU_SECONDS = 10**9
"""A thousand GPUs for eleven days."""


def text(value: object) -> str | None:
    """The value as text that Postgres can store, or None."""
    return value.replace("\x00", "").encode("utf-8", "replace").decode() if isinstance(value, str) else None


def whole_number(value: object) -> int | None:
    """The value as a count or as a time in Unix seconds, or None."""
    number = _number(value)
    return int(number) if number is not None and number >= 0 else None


def gpu_seconds(value: object) -> float | None:
    """The value as GPU-seconds; None for a negative one, or more than a job can have used."""
    number = _number(value)
    return float(number) if number is not None and 0 <= number <= MAX_GPU_SECONDS else None


def parse_job(job: Any) -> UpstreamJob:
    """A job; one without an id gets the id ""."""
    error = getattr(job, "error", None)
    metadata, result_files = getattr(job, "metadata", None), getattr(job, "result_files", None)
    usage, place = getattr(job, "usage", None), whole_number(getattr(job, "queue_place", None))
    return UpstreamJob(
        id=text(getattr(job, "id", None)) or "",
        status=text(getattr(job, "status", None)) or "unknown",
        created_at=whole_number(getattr(job, "created_at", None)) or 0,
        metadata=_texts(metadata) if isinstance(metadata, dict) else {},
        fine_tuned_model=text(getattr(job, "fine_tuned_model", None)),
        trained_tokens=whole_number(getattr(job, "trained_tokens", None)),
        estimated_finish=whole_number(getattr(job, "estimated_finish", None)),
        result_files=[name for file in result_files if (name := text(file))] if isinstance(result_files, list) else [],
        finished_at=whole_number(getattr(job, "finished_at", None)),
        gpu_seconds=gpu_seconds(usage.get("gpu_seconds")) if isinstance(usage, dict) else None,
        queue_place=place or None,
        tokens_so_far=whole_number(usage.get("trained_tokens")) if isinstance(usage, dict) else None,
        error_code=text(getattr(error, "code", None)),
        error_message=text(getattr(error, "message", error)),
        error_param=text(getattr(error, "param", None)),
    )


_EVENT_LEVELS: dict[str, EventLevel] = {"info": "info", "warn": "warn", "warning": "warn", "error": "error"}


def parse_event(event: Any) -> UpstreamEvent | None:
    """An event; None without an id, because it could not be distinguished from other events."""
    event_id, data = text(getattr(event, "id", None)), getattr(event, "data", None)
    if not event_id:
        return None
    return UpstreamEvent(
        id=event_id,
        created_at=whole_number(getattr(event, "created_at", None)) or 0,
        level=_EVENT_LEVELS.get(text(getattr(event, "level", None)) or "", "info"),
        type="metrics" if getattr(event, "type", None) == "metrics" else "message",
        message=text(getattr(event, "message", None)) or "",
        data=_scalars(data) if isinstance(data, dict) else {},
    )


def parse_checkpoint(checkpoint: Any) -> UpstreamCheckpoint | None:
    """A checkpoint; None when its id, model or step is missing."""
    checkpoint_id = text(getattr(checkpoint, "id", None))
    model = text(getattr(checkpoint, "fine_tuned_model_checkpoint", None))
    step_number = whole_number(getattr(checkpoint, "step_number", None))
    if not checkpoint_id or not model or step_number is None:
        return None
    metrics = getattr(checkpoint, "metrics", None)
    return UpstreamCheckpoint(
        id=checkpoint_id,
        created_at=whole_number(getattr(checkpoint, "created_at", None)) or 0,
        step_number=step_number,
        model=model,
        metrics=_scalars(metrics.to_dict()) if isinstance(metrics, BaseModel) else {},
    )


def _number(value: object) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value if abs(value) <= MAX_WHOLE_NUMBER else None


def _texts(values: dict[Any, Any]) -> dict[str, str]:
    return {key: value for key, value in values.items() if isinstance(key, str) and isinstance(value, str)}


def _scalars(values: dict[Any, Any]) -> dict[str, Any]:
    scalars = {
        text(key): value if isinstance(value, bool) else text(value) or _number(value) for key, value in values.items()
    }
    return {key: value for key, value in scalars.items() if key}
