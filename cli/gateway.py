"""The gateway that a command calls: the one that the SDK would, or a dev stack by its ready file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from service.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """The base URL of a gateway, and a project's key."""

    base_url: str
    api_key: str = field(repr=False)

    @classmethod
    def found(cls, environ: Mapping[str, str], ready_file: Path | None) -> "Gateway":
        """Find the gateway: in the ready file, else by OPENAI_BASE_URL and OPENAI_API_KEY. Raises `SettingsError`."""
        if ready_file is not None:
            return cls(
                base_url=ready_file_field(ready_file, "base_url"), api_key=ready_file_field(ready_file, "api_key")
            )
        base_url, api_key = environ.get("OPENAI_BASE_URL", ""), environ.get("OPENAI_API_KEY", "")
        if not base_url or not api_key:
            raise SettingsError("Set OPENAI_BASE_URL and OPENAI_API_KEY, as for the SDK, or give --ready-file.")
        return cls(base_url=base_url, api_key=api_key)

    def headers(self) -> dict[str, str]:
        """The headers of every request to the gateway."""
        return {"authorization": f"Bearer {self.api_key}"}


def ready_file_field(ready_file: Path, name: str) -> str:
    """A field of the ready file of a running `tunegate dev`. Raises `SettingsError` for another file."""
    try:
        return str(json.loads(ready_file.read_text(encoding="utf-8"))[name])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{ready_file} is no ready file of a running stack: {error!r}") from None


def refusal(answer: httpx2.Response) -> str:
    """The error message of a refused request."""
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The gateway answered {answer.status_code}."
