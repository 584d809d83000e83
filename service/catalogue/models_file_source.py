"""Reads the entries of a models file and of the folder of models that it names, with the lines on which they stand."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.catalogue.open_models.files import ModelFilesError
from service.catalogue.open_models.model_folders import folder_entries
from service.catalogue.toml_lines import TomlLines
from service.errors import SettingsError

IN_FOLDER = "models.toml"
"""The models file that a folder of models may have."""

TRAINING_PRICES = ("training", "training_hour", "training_gpu_second")
"""The ways to bill training, of which an entry has one at most."""

_TOP_KEYS = ("default_model", "folder", "converted", "models")


@dataclass(slots=True)
class Entry:
    """The fields of a model's entry, and where they are written; `line` of a field that a folder gave is None."""

    file: Path
    fields: dict[str, Any]
    lines: TomlLines | None = None
    index: int = 0

    def refusal(self, message: str, key: str = "") -> SettingsError:
        """The error for this entry, at the line of a key of it."""
        line = self.lines.of_entry(self.index, key) if self.lines is not None else None
        name = self.fields.get("name")
        of_model = f"model {name!r}: " if isinstance(name, str) else ""
        return SettingsError(f"{place_of(self.file, line)}: {of_model}{message}")


@dataclass(slots=True)
class Source:
    """The entries of a models file by name, on top of those of its folder."""

    file: Path
    default_model: str | None
    entries: dict[str, Entry]
    lines: TomlLines


def read_source(path: Path) -> Source:
    """Read a models file, or a folder of models. Raises SettingsError."""
    if not path.is_dir():
        return _read(path)
    file = path / IN_FOLDER
    if file.is_file():
        return _read(file, folder=path)
    return Source(path, None, _derived(path, None, str(path)), TomlLines(""))


def _read(file: Path, folder: Path | None = None, *, with_folder: bool = True) -> Source:
    """A file's entries, on top of those of the folder that it names, or in which it lies; or without that folder's."""
    try:
        text = file.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"The models file {file} cannot be read: {error}") from None
    lines = TomlLines(text)
    for key, kind in (("default_model", str), ("folder", str), ("converted", str), ("models", list)):
        if key in content and not isinstance(content[key], kind):
            what = "a text" if kind is str else "a list of [[models]] entries"
            raise SettingsError(f"{place_of(file, lines.of_key(key))}: `{key}` must be {what}.")
    if unknown := [key for key in content if key not in _TOP_KEYS]:
        message = f"the key `{unknown[0]}` is unknown. Known: {', '.join(_TOP_KEYS)}."
        raise SettingsError(f"{place_of(file, lines.of_key(unknown[0]))}: {message}")
    converted = file.parent / content["converted"] if "converted" in content else None
    if with_folder and "folder" in content:
        folder = file.parent / content["folder"]
    default_model, entries = content.get("default_model"), {}
    if folder is not None:
        entries = _derived(folder, converted, place_of(file, lines.of_key("folder")))
        inner = folder / IN_FOLDER
        if inner.is_file() and inner.resolve() != file.resolve():
            source = _read(inner, with_folder=False)
            default_model = default_model or source.default_model
            _merge(entries, source.entries)
    elif with_folder and default_model is None:
        raise SettingsError(
            f"{file}: `default_model` is missing. Name the model that reports use if no other is given."
        )
    own: dict[str, Entry] = {}
    for index, fields in enumerate(content.get("models", [])):
        entry = Entry(file, fields if isinstance(fields, dict) else {}, lines, index)
        name = entry.fields.get("name")
        if not isinstance(name, str) or not name:
            raise entry.refusal("`name` is missing. Give the model's name, as callers write it.")
        if name in own:
            raise entry.refusal("another entry has this name. Give each model one entry.", "name")
        own[name] = entry
    _merge(entries, own)
    return Source(file, default_model, entries, lines)


def _derived(folder: Path, converted: Path | None, place: str) -> dict[str, Entry]:
    try:
        return {name: Entry(folder / name, fields) for name, fields in folder_entries(folder, converted).items()}
    except ModelFilesError as error:
        raise SettingsError(f"{place}: {error}") from None


def _merge(entries: dict[str, Entry], later: Mapping[str, Entry]) -> None:
    for name, entry in later.items():
        if isinstance(given := entry.fields.get("tokenizer"), str):
            entry.fields["tokenizer"] = str((entry.file.parent / given).absolute())
        if name in entries:
            if any(price in entry.fields for price in TRAINING_PRICES):
                for price in TRAINING_PRICES:
                    entries[name].fields.pop(price, None)
            entry.fields = {**entries[name].fields, **entry.fields}
        entries[name] = entry


def place_of(file: Path, line: int | None) -> str:
    """A file, and a line of it where one is known, for messages."""
    return str(file) if line is None else f"{file}, line {line}"
