"""Finds variables that look like a setting and are none: a misspelt setting would be ignored in silence."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

from service.settings import Settings

PREFIX = "TUNEGATE_"
OTHERS = frozenset(
    [
        *("TUNEGATE_PROFILE", "TUNEGATE_FAULT_POINT", "TUNEGATE_FAULT_SIGNAL", "TUNEGATE_TEST_SERVERS"),
        *("TUNEGATE_RECORD_FD", "TUNEGATE_MEMORY_BYTES"),
    ]
)
"""Variables with this prefix that are no settings of the service: the command line's, the tests', between processes."""


@dataclass(frozen=True, slots=True)
class UnknownSetting:
    """A variable that is no setting, and the setting with the nearest name, if one is near."""

    name: str
    nearest: str | None

    def __str__(self) -> str:
        advice = f"Did you mean {self.nearest}?" if self.nearest else "docs/settings.md lists the settings."
        return f"{self.name} is not a setting, and has no effect. {advice}"


def unknown_settings(environ: Mapping[str, str]) -> list[UnknownSetting]:
    """The unknown ones in the environment, in the order of their names."""
    known = {spec.metadata["env"] for spec in fields(Settings)}
    return [_unknown(name, known) for name in sorted(environ) if name.startswith(PREFIX) and name not in known | OTHERS]


def warn_of_unknown_settings(environ: Mapping[str, str]) -> None:
    """Log each unknown one as a warning."""
    import structlog  # the command line only prints them

    log = structlog.get_logger()
    for unknown in unknown_settings(environ):
        log.warning("settings.unknown", name=unknown.name, nearest=unknown.nearest)


def _unknown(name: str, known: Collection[str]) -> UnknownSetting:
    near = difflib.get_close_matches(name, [*known, *OTHERS], n=1, cutoff=0.75)
    return UnknownSetting(name, near[0] if near else None)
