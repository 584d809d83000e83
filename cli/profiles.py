"""Profiles: gateways with their keys under a name, in a file that only its owner can read."""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from service.errors import SettingsError

DEFAULT = "default"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A gateway, with a project's key, an admin key, or both."""

    base_url: str
    api_key: str = field(default="", repr=False)
    admin_key: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class Profiles:
    """The profiles of a user by name, and the one that is used where none is named."""

    current: str = DEFAULT
    by_name: Mapping[str, Profile] = field(default_factory=dict)

    def named(self, name: str) -> Profile:
        """The profile of this name. Raises `SettingsError`."""
        if (found := self.by_name.get(name)) is None:
            known = ", ".join(sorted(self.by_name)) or "there is none yet"
            raise SettingsError(f"There is no profile {name!r} ({known}). `tunegate login --profile {name}` makes it.")
        return found

    def with_profile(self, name: str, profile: Profile) -> "Profiles":
        """With this profile, which becomes the current one."""
        return Profiles(current=name, by_name={**self.by_name, name: profile})

    def without(self, name: str) -> "Profiles":
        """Without this profile. If it was the current one, the first of the others becomes it."""
        left = {key: profile for key, profile in self.by_name.items() if key != name}
        return Profiles(
            current=next(iter(sorted(left)), DEFAULT) if name == self.current else self.current, by_name=left
        )


def config_folder(environ: Mapping[str, str]) -> Path:
    """The folder of the command line's own files: `$XDG_CONFIG_HOME/tunegate`, else `~/.config/tunegate`.

    Raises `SettingsError` without a home folder.
    """
    if above := environ.get("XDG_CONFIG_HOME"):
        return Path(above) / "tunegate"
    try:
        return Path.home() / ".config" / "tunegate"
    except RuntimeError:
        raise SettingsError("There is no home folder. Set HOME or XDG_CONFIG_HOME.") from None


def profiles_file(environ: Mapping[str, str]) -> Path:
    """Where the profiles are stored."""
    return config_folder(environ) / "profiles.json"


def load(file: Path) -> Profiles:
    """The profiles in the file; none if it is missing.

    Raises `SettingsError` if it is unreadable, or if others than its owner may read it, as ssh does with keys.
    """
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return Profiles()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(f"{file} has keys, and others may read it. Run: chmod 600 {file}")
    try:
        stored = json.loads(text)
        by_name = {name: Profile(**profile) for name, profile in stored["profiles"].items()}
        return Profiles(current=str(stored["current"]), by_name=by_name)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SettingsError(f"{file} is no file of profiles. Remove it, and run `tunegate login`.") from None


def save(file: Path, profiles: Profiles) -> None:
    """Write the profiles atomically, with mode 0600. Raises `SettingsError` if that is impossible."""
    from cli.credentials import write_private

    stored = {
        "current": profiles.current,
        "profiles": {name: asdict(profile) for name, profile in profiles.by_name.items()},
    }
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(file, json.dumps(stored, indent=2) + os.linesep)
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error.strerror or error}") from None
