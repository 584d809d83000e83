"""The rules for the body of a job's create and for its datasets. Pure; each refusal has its `param` and `code`."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from service.catalogue.base_models import BaseModel
from service.datasets.report_schema import FileReport, first_errors
from service.errors import InvalidRequest
from service.jobs.lifecycle import JobError
from service.jobs.schemas import CreateJob, Dpo, Hyperparameters, Method, Supervised

MAX_GRADER_BYTES = 512 * 1024
"""The largest grader of a reinforcement job. OpenAI's limit for a Python grader's source is 256 kB before escaping."""

MAX_METADATA_PAIRS = 16
MAX_METADATA_KEY = 64
MAX_METADATA_VALUE = 512
MIN_EXAMPLES = 10

FORMATS: dict[str, tuple[str, ...]] = {
    "supervised": ("chat", "completion"),
    "dpo": ("preference",),
    "reinforcement": ("reinforcement",),
}


def check_metadata(metadata: dict[str, str] | None, *, param: str = "metadata") -> None:
    """OpenAI's limits: 16 pairs, keys up to 64 characters, values up to 512."""
    if metadata is None:
        return
    if len(metadata) > MAX_METADATA_PAIRS:
        raise InvalidRequest(
            f"'{param}' has {len(metadata)} pairs; {MAX_METADATA_PAIRS} are the most.",
            param=param,
            code="metadata_too_many_pairs",
        )
    for key, value in metadata.items():
        if not 1 <= len(key) <= MAX_METADATA_KEY:
            raise InvalidRequest(
                f"A key of '{param}' must have 1 to {MAX_METADATA_KEY} characters; '{key[:80]}' has {len(key)}.",
                param=param,
                code="metadata_key_too_long" if key else "metadata_key_empty",
            )
        if len(value) > MAX_METADATA_VALUE:
            raise InvalidRequest(
                f"The value of '{param}.{key}' has {len(value)} characters; {MAX_METADATA_VALUE} are the most.",
                param=f"{param}.{key}",
                code="metadata_value_too_long",
            )


def resolve_method(requested: Method | None, hyperparameters: Hyperparameters | None) -> dict[str, Any]:
    """The method as it is stored and sent: `{"type": t, t: {...}}`, with the deprecated `hyperparameters` merged in."""
    if requested is None:
        method = Method(type="supervised", supervised=Supervised(hyperparameters=hyperparameters or Hyperparameters()))
    elif hyperparameters is not None:
        raise InvalidRequest(
            "Give the hyperparameters once: 'hyperparameters' is the deprecated place, "
            f"'method.{requested.type}.hyperparameters' the current one.",
            param="hyperparameters",
            code="conflicting_parameters",
        )
    else:
        method = requested
    for other in ("supervised", "dpo", "reinforcement"):
        if other != method.type and getattr(method, other) is not None:
            raise InvalidRequest(
                f"'method.{other}' does not belong to a method of type '{method.type}'.",
                param=f"method.{other}",
                code="conflicting_parameters",
            )
    match method.type:
        case "supervised":
            chosen: msgspec.Struct = method.supervised or Supervised()
        case "dpo":
            chosen = method.dpo or Dpo()
        case "reinforcement":
            if method.reinforcement is None:
                raise InvalidRequest(
                    "A reinforcement job needs 'method.reinforcement.grader'.",
                    param="method.reinforcement.grader",
                    code="missing_required_parameter",
                )
            grader_bytes = len(msgspec.json.encode(method.reinforcement.grader))
            if grader_bytes > MAX_GRADER_BYTES:
                raise InvalidRequest(
                    f"The grader has {grader_bytes:,} bytes. Send at most {MAX_GRADER_BYTES:,}.",
                    param="method.reinforcement.grader",
                )
            chosen = method.reinforcement
    return {"type": method.type, method.type: msgspec.to_builtins(chosen)}


def hyperparameters_of(method: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters inside a resolved method."""
    found: dict[str, Any] = method[method["type"]]["hyperparameters"]
    return found


def requested_epochs(method: dict[str, Any]) -> int | None:
    """The epochs that the caller requests; None for `auto`."""
    requested = hyperparameters_of(method)["n_epochs"]
    return requested if isinstance(requested, int) else None


def with_epochs(method: dict[str, Any], n_epochs: int) -> dict[str, Any]:
    """The method with its epochs resolved, as it is sent upstream."""
    kind = method["type"]
    return {**method, kind: {**method[kind], "hyperparameters": {**hyperparameters_of(method), "n_epochs": n_epochs}}}


def check_method(method: dict[str, Any], model: BaseModel) -> None:
    """Raises `InvalidRequest` if the model cannot be trained by the method, or has no price with an upper bound."""
    kind = method["type"]
    if kind not in model.methods:
        raise InvalidRequest(
            f"{model.name} cannot be trained by '{kind}'; it can by: {', '.join(model.methods)}.",
            param="method.type",
            code="unsupported_method",
        )
    if model.training_hour and not (model.training or model.training_gpu_second):
        raise InvalidRequest(
            f"{model.name} is billed by the hour, so its price has no upper bound yet and it is not offered here.",
            param="model",
            code="unsupported_method",
        )


def dataset_fault(
    report: FileReport, *, method_type: str, model: BaseModel, param: str, others: Iterable[BaseModel] = ()
) -> JobError | None:
    """Why a ready report's file cannot be used as `param` (`training_file` or `validation_file`), or None.

    For a file of another format the message names the method that trains on it, or those of the `others` that do.
    """
    if report.errors:
        return JobError(f"invalid_{param}", f"The {_name(param)} has errors. {first_errors(report)}", param)
    allowed = [kind for kind in FORMATS[method_type] if kind in model.formats]
    if report.format not in allowed:
        return JobError(
            "invalid_file_format",
            f"The {_name(param)} is in the {report.format or 'unknown'} format; '{method_type}' on {model.name} needs: "
            f"{', '.join(allowed) or 'another model'}.{_what_trains(report.format, model, others)}",
            param,
        )
    if param == "training_file" and report.examples < MIN_EXAMPLES:
        return JobError(
            "invalid_training_file",
            f"The training file has {report.examples} examples; at least {MIN_EXAMPLES} are needed.",
            param,
        )
    return None


def _what_trains(format: str | None, model: BaseModel, others: Iterable[BaseModel]) -> str:
    methods = [method for method, formats in FORMATS.items() if format in formats]
    on_it = [method for method in methods if method in model.methods and format in model.formats]
    if on_it:
        return f" The method {_quoted(on_it)} trains {model.name} on it."
    names = [
        each.name for each in others if format in each.formats and any(method in each.methods for method in methods)
    ]
    return f" Models that are trained on it: {', '.join(names)}." if names else ""


def _quoted(names: Iterable[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)


def tuned_name(*, base: str, organization: str, suffix: str | None, job_id: str) -> str:
    """`ft:<base>:<organisation>:<suffix>:<id>`, as OpenAI names tuned models. A tuned base counts as its own base."""
    root = base.split(":")[1] if base.startswith("ft:") else base
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", suffix or "").strip("-").lower()
    return f"ft:{root}:{organization}:{slug}:{job_id.removeprefix('ftjob-')[-12:]}"


def check_create(body: CreateJob) -> dict[str, Any]:
    """Check the rules that depend on the body alone. Returns the resolved method."""
    check_metadata(body.metadata)
    return resolve_method(body.method, body.hyperparameters)


def _name(param: str) -> str:
    return param.replace("_", " ")
