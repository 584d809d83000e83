"""Which gateway a command talks to: the one that the SDK would, or a dev stack by its ready file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from service.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """A base URL, and a project's key for it."""

    base_url: str
    api_key: str = field(repr=False)

    @classmethod
    def found(cls, environ: Mapping[str, str], ready_file: Path | None) -> "Gateway":
        """From the ready file if there is one, else from OPENAI_BASE_URL and OPENAI_API_KEY. Raises `SettingsError`."""
        if ready_file is not None:
            try:
                ready = json.loads(ready_file.read_text(encoding="utf-8"))
                return cls(base_url=ready["base_url"], api_key=ready["api_key"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise SettingsError(f"{ready_file} is no ready file of a running stack: {error!r}") from None
        base_url, api_key = environ.get("OPENAI_BASE_URL", ""), environ.get("OPENAI_API_KEY", "")
        if not base_url or not api_key:
            raise SettingsError("Set OPENAI_BASE_URL and OPENAI_API_KEY, as for the SDK, or give --ready-file.")
        return cls(base_url=base_url, api_key=api_key)

    def headers(self) -> dict[str, str]:
        """What every request to it carries."""
        return {"authorization": f"Bearer {self.api_key}"}


def refusal(answer: httpx2.Response) -> str:
    """What a refusal says, for a person."""
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The gateway answered {answer.status_code}."
