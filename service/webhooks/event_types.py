"""The closed catalogue of events, with what each means and a sample of its data for test deliveries.

The first three are OpenAI's own, so the official SDK parses them; the others follow their naming.
"""

import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

EVENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "fine_tuning.job.succeeded": "A fine-tuning job has ended and its model can be used.",
        "fine_tuning.job.failed": "A fine-tuning job has ended without a model; `data.error` says why.",
        "fine_tuning.job.cancelled": "A fine-tuning job was cancelled.",
        "fine_tuning.job.created": "A fine-tuning job was accepted.",
        "fine_tuning.job.running": "A fine-tuning job has begun to train.",
        "file.processed": "A file was validated and can be trained on.",
        "file.error": "A file was validated and has errors; its report lists them.",
        "spend_alert.triggered": "A project has spent up to one of its alert thresholds.",
        "model_alias.promoted": "An alias points at another model now.",
        "model.retiring": "A model that this project uses will be shut down soon.",
    }
)

_JOB = {"project_id": "proj_sample", "metadata": {"sample": "true"}}
_COST = {"value": 0.13, "currency": "usd"}
_MODEL = "ft:gpt-4.1-nano-2025-04-14:tunegate:sample:sample01"

_SAMPLES: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "fine_tuning.job.succeeded": (
        "ftjob-sample",
        {**_JOB, "status": "succeeded", "fine_tuned_model": _MODEL, "trained_tokens": 86120, "cost": _COST},
    ),
    "fine_tuning.job.failed": (
        "ftjob-sample",
        {
            **_JOB,
            "status": "failed",
            "fine_tuned_model": None,
            "trained_tokens": None,
            "cost": None,
            "error": {"code": "invalid_training_file", "message": "A sample of an error.", "param": "training_file"},
        },
    ),
    "fine_tuning.job.cancelled": (
        "ftjob-sample",
        {**_JOB, "status": "cancelled", "fine_tuned_model": None, "trained_tokens": None, "cost": None},
    ),
    "fine_tuning.job.created": ("ftjob-sample", {**_JOB, "status": "validating_files"}),
    "fine_tuning.job.running": ("ftjob-sample", {**_JOB, "status": "running"}),
    "file.processed": ("file-sample", {"project_id": "proj_sample", "status": "processed", "filename": "train.jsonl"}),
    "file.error": ("file-sample", {"project_id": "proj_sample", "status": "error", "filename": "train.jsonl"}),
    "spend_alert.triggered": ("alert_sample", {"project_id": "proj_sample"}),
    "model_alias.promoted": ("alias_sample", {"project_id": "proj_sample", "model": _MODEL}),
    "model.retiring": (_MODEL, {"project_id": "proj_sample", "shutdown_date": "2027-01-14"}),
}


def event_body(event_id: str, *, type: str, subject: str, data: Mapping[str, object], now: dt.datetime) -> bytes:
    """The exact bytes of an event: signed, stored and sent as they are. `subject` becomes `data.id`.

    Raises `ValueError` for a type outside the catalogue: a defect of ours, found by the first test that emits it.
    """
    if type not in EVENT_TYPES:
        raise ValueError(f"{type!r} is not in the catalogue of webhook event types.")
    return msgspec.json.encode(
        {
            "object": "event",
            "id": event_id,
            "type": type,
            "created_at": int(now.timestamp()),
            "data": {**data, "id": subject},
        }
    )


def sample_body(event_id: str, *, type: str, now: dt.datetime) -> bytes:
    """The bytes of a test delivery."""
    subject, data = _SAMPLES[type]
    return event_body(event_id, type=type, subject=subject, data=data, now=now)
