"""Validates the body of `POST /v1/fine_tuning/jobs`."""

import time
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from ..engines.port import Adapter, Engine, JobSettings, Refused
from ..engines.port import Method as MethodName
from ..jobs import NewJob
from ..store import Store
from .catalogue_lookup import FoundModel, find_base, find_model
from .errors import ApiError

Auto = Literal["auto"]
Epochs = Annotated[int, Meta(ge=1, le=50)] | Auto | None
BatchSize = Annotated[int, Meta(ge=1, le=256)] | Auto | None
Rate = Annotated[float, Meta(gt=0, le=100)] | Auto | None
LayerName = Annotated[str, Meta(min_length=1, max_length=128)]
Beta = Annotated[float, Meta(gt=0, le=2)] | Auto | None


class Hyperparameters(Struct, forbid_unknown_fields=True):
    """Settings of either method; `beta` is dpo's alone."""

    n_epochs: Epochs = None
    batch_size: BatchSize = None
    learning_rate_multiplier: Rate = None
    beta: Beta = None


class MethodSettings(Struct, forbid_unknown_fields=True):
    """The settings of a method."""

    hyperparameters: Hyperparameters | None = None


class Method(Struct, forbid_unknown_fields=True):
    """A training method and its settings."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: MethodSettings | None = None
    dpo: MethodSettings | None = None
    reinforcement: Any = None


class AdapterSettings(Struct, forbid_unknown_fields=True):
    """Which weights to train, a field of this trainer's own; `targets` are names of linear layers or `all-linear`."""

    type: Literal["lora", "full"] = "lora"
    rank: Annotated[int, Meta(ge=1, le=1024)] | None = None
    alpha: Annotated[float, Meta(gt=0, le=65_536)] | None = None
    dropout: Annotated[float, Meta(ge=0, lt=1)] | None = None
    targets: Literal["all-linear"] | Annotated[list[LayerName], Meta(min_length=1, max_length=64)] | None = None


class CreateJob(Struct, forbid_unknown_fields=True):
    """OpenAI's fields; `integrations` are accepted when empty."""

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    metadata: (
        Annotated[dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)]
        | None
    ) = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    adapter: AdapterSettings | None = None
    integrations: Annotated[list[Any], Meta(max_length=0)] | None = None


T = TypeVar("T", bound=Struct)


def decode(body: bytes, kind: type[T]) -> T:
    """A JSON body as a struct; 400 says what is wrong and where."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at ")
        raise ApiError(400, f"{message}{' at ' + where if where else ''}", param=where.strip("`$.") or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"The body is not valid JSON: {error}") from None


def new_job(store: Store, engine: Engine, request: CreateJob, *, serves_adapters_only: bool) -> NewJob:
    """The job to create; ApiError if a file or model does not exist or the method is not supported."""
    method = request.method.type if request.method else "supervised"
    if method == "reinforcement":
        raise ApiError(400, "This trainer has the methods supervised and dpo only.", param="method.type")
    settings = None
    if request.method is not None:
        settings = request.method.dpo if method == "dpo" else request.method.supervised
    chosen = (settings.hyperparameters if settings else None) or request.hyperparameters or Hyperparameters()
    if method != "dpo" and chosen.beta is not None:
        raise ApiError(400, "beta belongs to the method dpo.", param="hyperparameters.beta")
    model = find_model(store, engine, request.model)
    adapter = _adapter(request.adapter)
    if serves_adapters_only and adapter is not None and adapter.type == "full":
        raise ApiError(
            400,
            "Tuned models are served by vLLM here (TRAINER_SERVE_URL), which takes adapters only: leave adapter.type at"
            " 'lora'. Without TRAINER_SERVE_URL the trainer itself serves full weights.",
            param="adapter.type",
            code="model_not_servable",
        )
    _ask_engine(engine, model, method, request.seed, adapter)
    _need_file(store, "training_file", request.training_file)
    if request.validation_file is not None:
        _need_file(store, "validation_file", request.validation_file)
    return NewJob(
        model=request.model,
        base=model.base,
        start_weights=model.weights,
        training_file=request.training_file,
        validation_file=request.validation_file,
        suffix=request.suffix,
        seed=request.seed,
        metadata=request.metadata,
        method=method,
        n_epochs=None if chosen.n_epochs == "auto" else chosen.n_epochs,
        batch_size=None if chosen.batch_size == "auto" else chosen.batch_size,
        rate=None if chosen.learning_rate_multiplier == "auto" else chosen.learning_rate_multiplier,
        beta=None if chosen.beta == "auto" else chosen.beta,
        adapter=adapter,
    )


def _adapter(given: AdapterSettings | None) -> Adapter | None:
    if given is None:
        return None
    only_lora = {name: getattr(given, name) for name in ("rank", "alpha", "dropout", "targets")}
    if given.type == "full" and any(value is not None for value in only_lora.values()):
        name = next(name for name, value in only_lora.items() if value is not None)
        raise ApiError(400, f"adapter.{name} belongs to the type 'lora', not 'full'.", param=f"adapter.{name}")
    targets = (given.targets,) if isinstance(given.targets, str) else given.targets
    return Adapter(
        type=given.type,
        rank=given.rank,
        alpha=given.alpha,
        dropout=given.dropout,
        targets=None if targets is None else tuple(targets),
    )


def _ask_engine(
    engine: Engine, model: FoundModel, method: MethodName, seed: int | None, adapter: Adapter | None
) -> None:
    base = find_base(engine, model.base)
    if base is None or method not in base.methods:
        known = "nothing" if base is None else " and ".join(base.methods)
        raise ApiError(400, f"The model {model.base!r} can be trained by {known} here.", param="method.type")
    continues = model.weights is not None
    try:
        engine.check(JobSettings(base=model.base, method=method, seed=seed or 0, adapter=adapter, continues=continues))
    except Refused as refused:
        raise ApiError(400, str(refused), param=refused.param, code=refused.code) from None


def _need_file(store: Store, param: str, file_id: str) -> None:
    row = store.row("SELECT purpose FROM files WHERE id = ? AND coalesce(expires_at, 1e18) >= ?", file_id, time.time())
    if row is None:
        raise ApiError(400, f"The {param} {file_id!r} does not exist.", param=param, code=f"invalid_{param}")
    if row["purpose"] != "fine-tune":
        message = f"The {param} has the purpose {row['purpose']!r}, and needs 'fine-tune'."
        raise ApiError(400, message, param=param, code=f"invalid_{param}")
