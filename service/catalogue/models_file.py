"""Loads the models file: the shipped catalogue, or what `TUNEGATE_MODELS_FILE` names. docs/models.md has the format.

That is a TOML file, or a folder of models: a sub-folder for each, and a `models.toml` that may add and override. A
wrong entry is refused with the file, its line, and what to do.
"""

from pathlib import Path

import msgspec

from service.catalogue.base_models import BaseModel, Catalogue, Overhead
from service.catalogue.models_file_source import TRAINING_PRICES, Entry, place_of, read_source
from service.catalogue.open_models.files import ModelFilesError, read_tokenizer
from service.catalogue.tokens import ENCODINGS
from service.errors import SettingsError

SHIPPED = Path(__file__).with_name("catalogue.toml")
OPEN_PROVIDERS = ("self-hosted",)
"""The providers of an open model whose entry names none."""

_DERIVED = ("tokenizer_sha256", "overhead")
_FIELDS = tuple(field for field in BaseModel.__struct_fields__ if field not in _DERIVED)


def load(path: str = "", *, with_tokenizers: bool = False) -> Catalogue:
    """Load the shipped catalogue, or the file or folder at `path`.

    With `with_tokenizers` the tokenizers of open models are loaded and tried too, as a process does at its start.
    Raises SettingsError if anything cannot be read or is invalid.
    """
    file = Path(path) if path else SHIPPED
    source = read_source(file)
    models: list[BaseModel] = []
    names: dict[str, str] = {}
    for name, entry in source.entries.items():
        model = _model(entry)
        for each in (model.name, *model.aliases):
            if each in names:
                raise entry.refusal(
                    f"the name {each!r} belongs to {names[each]!r} too. Give each model its own.", "aliases"
                )
            names[each] = name
        if with_tokenizers and model.is_open:
            model = msgspec.structs.replace(model, overhead=_overhead(entry, model))
        models.append(model)
    if not models:
        raise SettingsError(f"{source.file} has no models. Add a [[models]] entry (docs/models.md).")
    default = source.default_model or models[0].name
    if default not in names:
        line = source.lines.of_key("default_model")
        raise SettingsError(
            f"{place_of(source.file, line)}: the default model {default!r} is not among the models: {', '.join(names)}."
        )
    return Catalogue(default, tuple(models))


def _model(entry: Entry) -> BaseModel:
    fields = entry.fields
    if unknown := [key for key in fields if key not in _FIELDS]:
        raise entry.refusal(f"the field `{unknown[0]}` is unknown. Known: {', '.join(_FIELDS)}.", unknown[0])
    try:
        model = msgspec.convert(fields, BaseModel)
    except msgspec.ValidationError as error:
        raise _invalid(entry, str(error)) from None
    if bool(model.encoding) == bool(model.tokenizer):
        both = (
            "it has both `encoding` and `tokenizer`. Leave one"
            if model.encoding
            else "it has neither `encoding` nor `tokenizer`"
        )
        raise entry.refusal(
            f"{both}: `encoding` names one of {', '.join(ENCODINGS)}, `tokenizer` an open model's folder.", "tokenizer"
        )
    if priced := [key for key in TRAINING_PRICES if getattr(model, key)][1:]:
        raise entry.refusal(
            f"it has more than one price of training. Leave one of {', '.join(TRAINING_PRICES)}.", priced[0]
        )
    for key in ("max_tokens", "max_output_tokens"):
        if getattr(model, key) < 1:
            raise entry.refusal(f"`{key}` must be at least 1.", key)
    rates = model.learning_rates
    if any(rate is not None and not 0 < rate < 1 for rate in (rates.lora, rates.full)):
        raise entry.refusal("`learning_rate` must be between 0 and 1, such as 2e-4.", "learning_rate")
    if not model.is_open:
        if model.encoding not in ENCODINGS:
            raise entry.refusal(
                f"the encoding {model.encoding!r} is unknown. Known: {', '.join(ENCODINGS)}.", "encoding"
            )
        return model
    return _open_model(entry, model)


def _open_model(entry: Entry, model: BaseModel) -> BaseModel:
    try:
        files = read_tokenizer(Path(model.tokenizer))
        from service.catalogue.open_models.chat_templates import ChatTemplate, NotRendered  # needs the extra
        from service.catalogue.open_models.rendering import Rendering

        rendering = Rendering(ChatTemplate(files.chat_template, files.special_tokens))
    except ModelFilesError as error:
        raise entry.refusal(str(error), "tokenizer") from None
    except NotRendered as error:
        raise entry.refusal(
            f"its chat template does not compile ({error}). Correct it in {model.tokenizer}.", "tokenizer"
        ) from None
    return msgspec.structs.replace(
        model,
        encoding=f"{model.name}:{files.fingerprint[:12]}",
        tokenizer_sha256=files.sha256,
        providers=model.providers or OPEN_PROVIDERS,
        tools=model.tools and rendering.has_tools,
    )


def _overhead(entry: Entry, model: BaseModel) -> Overhead:
    from service.catalogue.open_models.tokenizer import load_tokenizer  # needs the extra

    try:
        return load_tokenizer(Path(model.tokenizer)).overhead()
    except ModelFilesError as error:
        raise entry.refusal(str(error), "tokenizer") from None


def _invalid(entry: Entry, problem: str) -> SettingsError:
    """A violation in msgspec's words, at the line of its key.

    They are such as "Object contains unknown field `x` - at `$.training[0]`".
    """
    message, _, place = problem.partition(" - at `$")
    key = place.strip(".`[").split(".")[0].split("[")[0].rstrip("`")
    field = message.split("`")[1] if "`" in message else ""
    if message.startswith("Object missing required field") and not key:
        return entry.refusal(f"the field `{field}` is missing (docs/models.md).")
    where = f"`{place.strip('.`')}`: " if place else ""
    return entry.refusal(f"{where}{message[:1].lower()}{message[1:]} (docs/models.md).", key)
