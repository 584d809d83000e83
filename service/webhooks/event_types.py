"""The closed catalogue of event types: the meaning of each, and a sample with the keys of real events.

The first three are OpenAI's own, so the official SDK parses them; the others follow their naming. Keys may be added to
`data` and are never removed. Test deliveries send the samples, and docs/webhooks.md shows them.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """One type: its meaning, and the subject and the data of a sample."""

    meaning: str
    subject: str
    data: Mapping[str, object]


_PROJECT = {"project_id": "proj_sample"}
_MODEL = "ft:gpt-4.1-nano-2025-04-14:tunegate:sample:sample01"


def _job(meaning: str, status: str, sequence: int, **fields: object) -> EventType:
    data = {
        "status": status,
        "model": "gpt-4.1-nano-2025-04-14",
        "fine_tuned_model": None,
        **_PROJECT,
        "metadata": {"sample": "true"},
        "trained_tokens": None,
        "cost": None,
        "error": None,
        "sequence": sequence,
    }
    return EventType(meaning=meaning, subject="ftjob-sample", data=data | fields)


def _file(meaning: str, status: str, errors: int) -> EventType:
    report = {"examples": 64, "errors": errors, "warnings": 1}
    data = {**_PROJECT, "status": status, "filename": "train.jsonl", **report}
    return EventType(meaning=meaning, subject="file-sample", data=data)


def _run(meaning: str, status: str, subject: str, **fields: object) -> EventType:
    data = {
        **_PROJECT,
        "status": status,
        "total": 200,
        "done": 200,
        "cost": {"value": 0.21, "currency": "usd"},
        "input_file": None,
        "file": None,
        "error": None,
    }
    return EventType(meaning=meaning, subject=subject, data=data | fields)


def _experiment(meaning: str, status: str, **fields: object) -> EventType:
    data = {
        **_PROJECT,
        "status": status,
        "arms": 4,
        "succeeded_arms": 4,
        "recommended_arm": None,
        "fine_tuned_model": None,
        "promoted": None,
        "cost": {"value": 0.52, "currency": "usd"},
        "metadata": {"sample": "true"},
        "error": None,
    }
    return EventType(meaning=meaning, subject="exp_sample", data=data | fields)


_SAMPLE_ERROR = {"code": "budget_exceeded", "message": "A sample of an error.", "param": "budget"}


CATALOGUE: Mapping[str, EventType] = MappingProxyType(
    {
        "fine_tuning.job.succeeded": _job(
            "A fine-tuning job has ended and its model can be used.",
            "succeeded",
            42,
            fine_tuned_model=_MODEL,
            trained_tokens=86120,
            cost={"value": 0.13, "currency": "usd"},
        ),
        "fine_tuning.job.failed": _job(
            "A fine-tuning job has ended without a model; `data.error` says why.",
            "failed",
            7,
            error={"code": "invalid_training_file", "message": "A sample of an error.", "param": "training_file"},
        ),
        "fine_tuning.job.cancelled": _job("A fine-tuning job was cancelled.", "cancelled", 9),
        "fine_tuning.job.created": _job("A fine-tuning job was accepted.", "validating_files", 1),
        "fine_tuning.job.running": _job("A fine-tuning job has begun to train.", "running", 6),
        "fine_tuning.experiment.succeeded": _experiment(
            "An experiment has ended, and its table has the result of each arm; `promoted` is the alias that got the "
            "recommended model.",
            "succeeded",
            recommended_arm=2,
            fine_tuned_model=_MODEL,
            promoted="support-bot",
        ),
        "fine_tuning.experiment.failed": _experiment(
            "An experiment has ended and no arm has succeeded; `error` says why.",
            "failed",
            succeeded_arms=0,
            error={"code": "no_arm_succeeded", "message": "A sample of an error.", "param": None},
        ),
        "fine_tuning.experiment.cancelled": _experiment(
            "An experiment was cancelled, and so were its arms.", "cancelled", succeeded_arms=1
        ),
        "file.processed": _file("A file was validated and can be trained on.", "processed", 0),
        "file.error": _file("A file was validated and has errors; its report lists them.", "error", 3),
        "dataset_generation.succeeded": _run(
            "A generation has ended and `file` has its examples.", "succeeded", "gen_sample", file="file-sample"
        ),
        "dataset_generation.failed": _run(
            "A generation has ended early; `error` says why, and `file` has the examples that were generated, if any.",
            "failed",
            "gen_sample",
            done=120,
            file="file-sample",
            error=_SAMPLE_ERROR,
        ),
        "dataset_generation.cancelled": _run("A generation was cancelled.", "cancelled", "gen_sample", done=7),
        "model_comparison.succeeded": _run(
            "A comparison has its scores.", "succeeded", "cmp_sample", input_file="file-sample"
        ),
        "model_comparison.failed": _run(
            "A comparison has ended early; `error` says why.",
            "failed",
            "cmp_sample",
            done=120,
            input_file="file-sample",
            error=_SAMPLE_ERROR,
        ),
        "model_comparison.cancelled": _run(
            "A comparison was cancelled.", "cancelled", "cmp_sample", done=7, input_file="file-sample"
        ),
        "spend_alert.triggered": EventType(
            meaning="A project has spent up to one of its alert thresholds. For the organisation's own alerts `scope` "
            "is `organization`, and `spent`, which adds up other projects, is left out.",
            subject="alert_sample",
            data={
                "scope": "project",
                "spent": {"value": 80.4, "currency": "usd"},
                **_PROJECT,
                "month": "2026-11",
                "threshold": {"value": 80.0, "currency": "usd"},
            },
        ),
        "model_alias.promoted": EventType(
            meaning="An alias now points to another model; `action` is `created`, `promoted`, `rolled_back` or "
            "`deployed` (by the job `job_id`).",
            subject="alias_sample",
            data={
                **_PROJECT,
                "action": "promoted",
                "alias": "support-bot",
                "model": _MODEL,
                "previous_model": "gpt-4.1-nano-2025-04-14",
                "version": 2,
                "reason": "It passed the smoke test.",
                "job_id": None,
            },
        ),
        "model.retiring": EventType(
            meaning="The provider shuts down a base model that the project has tuned models of, has aliases on or "
            "trains on; sent once when `days_left` falls to 30, and once when it falls to 7.",
            subject="gpt-4.1-nano-2025-04-14",
            data={
                **_PROJECT,
                "shutdown_date": "2027-01-14",
                "days_left": 30,
                "fine_tuned_models": [_MODEL],
                "aliases": ["support-bot"],
            },
        ),
    }
)

EVENT_TYPES: Mapping[str, str] = MappingProxyType({name: each.meaning for name, each in CATALOGUE.items()})
"""Every type with its meaning."""


def event_body(event_id: str, *, type: str, subject: str, data: Mapping[str, object], now: dt.datetime) -> bytes:
    """The bytes of an event, on one line, which are stored, signed and sent unchanged. `subject` becomes `data.id`.

    Raises `ValueError` for a type outside the catalogue, which is a programming error.
    """
    if type not in CATALOGUE:
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
    """The body of a test delivery."""
    sample = CATALOGUE[type]
    return event_body(event_id, type=type, subject=sample.subject, data=sample.data, now=now)
