"""Lists the settings with their values and origins, for people and programs. A secret is only said to be set."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from cli.gateway import ready_file_field
from cli.output import Column, console, print_json, print_table
from service.settings import Settings
from service.unknown_settings import unknown_settings

SECRET = "set, not shown"  # noqa: S105 - what is shown in its place
IN_READY_FILE = {"DATABASE_URL": "database_url", "REDIS_URL": "redis_url", "OPENAI_BASE_URL": "upstream_url"}


def show_config(environ: Mapping[str, str], *, as_json: bool, changed: bool, ready_file: Path | None) -> int:
    """Print the settings. Returns 1 if a variable is unknown. Raises `SettingsError` for an invalid value."""
    found = {} if ready_file is None else {name: ready_file_field(ready_file, at) for name, at in IN_READY_FILE.items()}
    settings = Settings.from_env({**environ, **found})
    rows: list[dict[str, Any]] = []
    for spec in fields(Settings):
        name, value = spec.metadata["env"], getattr(settings, spec.name)
        origin = str(ready_file) if name in found else "environment" if environ.get(name) else "default"
        if spec.metadata["secret"]:
            value = SECRET if value else ""
        if origin != "default" or not changed:
            rows.append({"name": name, "value": value, "origin": origin, "secret": spec.metadata["secret"]})
    unknown = unknown_settings(environ)
    if as_json:
        print_json({"settings": rows, "unknown": [{"name": each.name, "nearest": each.nearest} for each in unknown]})
    else:
        columns = [Column("setting", fold=True), Column("value", fold=True), Column("from", fold=True)]
        shown = [(row["name"], _text(row["value"]), row["origin"]) for row in rows]
        print_table(columns, shown, console(), empty="Every setting has its default.")
    return 1 if unknown else 0


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{part:g}" for part in value)
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
