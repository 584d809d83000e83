"""One bound, as the table of limits shows it."""

from dataclasses import dataclass, fields
from typing import Any

from service.settings import Settings

FIXED = "fixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One bound.

    `counted` is what it is counted for (a request, a file, a project in a process, …), `above` what happens beyond it,
    `change` the setting or call that changes it, or why none does, and `honest_use` the real use that it was checked
    against.
    """

    name: str
    value: str
    counted: str
    above: str
    change: str
    honest_use: str


def by_setting(field_name: str, *, name: str, counted: str, above: str, honest_use: str) -> Limit:
    """A bound that is a setting."""
    (spec,) = (each for each in fields(Settings) if each.name == field_name)
    return Limit(
        name=name,
        value=shown(spec.default),
        counted=counted,
        above=above,
        change=f"`{spec.metadata['env']}`",
        honest_use=honest_use,
    )


def shown(value: Any) -> str:
    """A number as a person reads it: whole MiB as such, else with separators."""
    if isinstance(value, int) and value >= 1 << 20 and value % (1 << 20) == 0:
        return f"{value >> 20:,} MiB"
    return f"{value:,}"
