"""The gateway that a command calls: the one that the SDK would, a profile's, or a dev stack's by its ready file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from service.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """The base URL of a gateway, a project's key and an admin key; a missing key is empty.

    `origin` says where they were found, such as `The environment`.
    """

    base_url: str
    api_key: str = field(default="", repr=False)
    admin_key: str = field(default="", repr=False)
    origin: str = field(default="The command", compare=False)

    @classmethod
    def found(cls, environ: Mapping[str, str], ready_file: Path | None, profile: str | None = None) -> "Gateway":
        """Find the gateway. The first of these that is given wins, as with other tools' profiles:

        the ready file, the profile, OPENAI_BASE_URL with its keys, the profile of TUNEGATE_PROFILE, the current
        profile. Keys without OPENAI_BASE_URL select nothing: they may be a provider's. Raises `SettingsError`.
        """
        if ready_file is not None:
            return cls._checked(
                base_url=ready_file_field(ready_file, "base_url"),
                api_key=ready_file_field(ready_file, "api_key"),
                admin_key=ready_file_field(ready_file, "admin_key", default=""),
                origin=str(ready_file),
            )
        if profile is None and environ.get("OPENAI_BASE_URL"):
            return cls._checked(
                base_url=environ["OPENAI_BASE_URL"],
                api_key=environ.get("OPENAI_API_KEY", ""),
                admin_key=environ.get("OPENAI_ADMIN_KEY", ""),
                origin="The environment",
            )
        from cli.profiles import load, profiles_file

        profiles = load(profiles_file(environ))
        name = profile or environ.get("TUNEGATE_PROFILE") or profiles.current
        if not profiles.by_name and name == profiles.current:
            raise SettingsError(
                "No gateway is known. Set OPENAI_BASE_URL and OPENAI_API_KEY, as for the SDK, run `tunegate login`, "
                "or give --ready-file."
            )
        chosen = profiles.named(name)
        return cls._checked(
            base_url=chosen.base_url,
            api_key=chosen.api_key,
            admin_key=chosen.admin_key,
            origin=f"The profile {name}",
        )

    @classmethod
    def of(cls, base_url: str, api_key: str, admin_key: str) -> "Gateway":
        """The gateway that a caller names. Raises `SettingsError` for a malformed URL or key."""
        return cls._checked(base_url=base_url, api_key=api_key, admin_key=admin_key, origin="The command")

    @classmethod
    def _checked(cls, *, base_url: str, api_key: str, admin_key: str, origin: str) -> "Gateway":
        try:
            parts = urlsplit(base_url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            valid = False
        if not valid:
            raise SettingsError(f"{origin} has the base URL {base_url!r}; it must be http://… or https://….")
        for name, key in (("project's key", api_key), ("admin key", admin_key)):
            if not key.isascii() or not key.isprintable() or " " in key:
                raise SettingsError(f"{origin} has a {name} with characters that no key has.")
        return cls(base_url=base_url.rstrip("/"), api_key=api_key, admin_key=admin_key, origin=origin)

    def project_key(self) -> str:
        """The key for a project's resources. Raises `SettingsError`."""
        if not self.api_key:
            raise SettingsError(f"{self.origin} has no project's key. Set OPENAI_API_KEY, or run `tunegate login`.")
        return self.api_key

    def organization_key(self) -> str:
        """The key for the organisation's API. Raises `SettingsError`."""
        if not self.admin_key:
            raise SettingsError(f"{self.origin} has no admin key. Set OPENAI_ADMIN_KEY, or run `tunegate login`.")
        return self.admin_key

    def headers(self) -> dict[str, str]:
        """The headers of requests for a project's resources. Raises `SettingsError`."""
        return {"authorization": f"Bearer {self.project_key()}"}


def ready_file_field(ready_file: Path, name: str, *, default: str | None = None) -> str:
    """A field of the ready file of a running `tunegate dev`. Raises `SettingsError` for another file."""
    try:
        fields = json.loads(ready_file.read_text(encoding="utf-8"))
        return str(fields[name] if default is None else fields.get(name, default))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{ready_file} is no ready file of a running stack: {error!r}") from None
