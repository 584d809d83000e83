"""The body of a job's create: from the options of the command, or from another job with changes. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cli.arguments.train import JobOptions, TrainingOptions
from cli.errors import Refused

QUOTED = ("model", "training_file", "validation_file", "method", "adapter", "budget")
"""The fields of a create that its quote has too."""

COPIED = ("model", "training_file", "validation_file", "method", "adapter", "suffix", "seed", "metadata")
"""The fields that a clone takes over from the job as it is shown."""

_METHOD_PATH = re.compile(r"^method\.\w+\.(hyperparameters\.)?")


def with_training(body: Mapping[str, Any], options: TrainingOptions) -> dict[str, Any]:
    """The body with the given options. Its files are set by the caller. Raises `Refused`."""
    changed = {**body, **_given({"model": options.model, "budget": options.budget})}
    if (method := _method(body.get("method"), options)) is not None:
        changed["method"] = method
    adapter = _given(
        {
            "type": options.adapter,
            "rank": options.adapter_rank,
            "alpha": options.adapter_alpha,
            "dropout": options.adapter_dropout,
            "targets": list(options.adapter_targets) or None,
        }
    )
    if adapter:
        before = body.get("adapter") or {}
        same = before if adapter.get("type") in (None, before.get("type")) else {}
        changed["adapter"] = {"type": "lora", **_given(same), **adapter}
    return changed


def with_job(body: Mapping[str, Any], options: JobOptions) -> dict[str, Any]:
    """The body with the given options. Raises `Refused` for metadata that is not KEY=VALUE."""
    given = {
        "suffix": options.suffix,
        "seed": options.seed,
        "deploy": None if options.deploy is None else {"alias": options.deploy},
        "upstream_account": options.upstream,
        "priority": options.priority,
    }
    changed = {**body, **_given(given)}
    if options.metadata:
        changed["metadata"] = {**(body.get("metadata") or {}), **metadata_of(options.metadata)}
    return changed


def metadata_of(pairs: tuple[str, ...]) -> dict[str, str]:
    """`KEY=VALUE` texts as an object. Raises `Refused` for another text."""
    metadata = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise Refused(f"--metadata {pair!r} is not KEY=VALUE.")
        metadata[key] = value
    return metadata


def quote_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the quote for a create."""
    return {name: body[name] for name in QUOTED if body.get(name) is not None}


def request_of(job: Mapping[str, Any], timeline: Mapping[str, Any]) -> dict[str, Any]:
    """The create of a job, as far as it is shown: with the hyperparameters that were chosen for `auto`.

    `deploy` is left out: a promotion happens only where it is requested anew.
    """
    body = {name: job[name] for name in COPIED if job.get(name) is not None}
    if job.get("integrations"):
        body["integrations"] = job["integrations"]
    if body.get("adapter") is not None:
        body["adapter"] = _given(body["adapter"])
    if (budget := timeline["cost"]["budget"]) is not None:
        body["budget"] = budget["value"]
    return body


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What differs, as name, old and new value."""
    old, new = dict(_flat(before)), dict(_flat(after))
    names = dict.fromkeys([*old, *new])
    return [(name, old.get(name, ""), new.get(name, "")) for name in names if old.get(name) != new.get(name)]


def _method(before: Mapping[str, Any] | None, options: TrainingOptions) -> dict[str, Any] | None:
    given = _given(
        {
            "n_epochs": options.epochs,
            "batch_size": options.batch_size,
            "learning_rate_multiplier": options.learning_rate_multiplier,
            "beta": options.beta,
        }
    )
    if options.method is None and not given:
        return None
    previous = str((before or {}).get("type", "supervised"))
    kind = options.method or previous
    if options.beta is not None and kind != "dpo":
        raise Refused("--beta belongs to --method dpo.")
    unchanged = (before or {}).get(kind) or {}
    hyperparameters = {**(unchanged.get("hyperparameters") or {}), **given}
    return {"type": kind, kind: {**unchanged, "hyperparameters": hyperparameters}}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Values by their dotted paths, without those of the method before hyperparameters."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}".lstrip("."))
    elif value is not None:
        yield _METHOD_PATH.sub("", path), ", ".join(map(str, value)) if isinstance(value, list) else str(value)
