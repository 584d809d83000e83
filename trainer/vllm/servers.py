"""The vLLM servers: which base model each serves, and whether a model answers."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import httpx2
import msgspec

from .names import adapter_name

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 60.0
"""The longest wait for the one token that shows that a model answers; vLLM loads an adapter meanwhile."""
_FRESH_SECONDS = 30.0


class NotServed(Exception):
    """vLLM does not answer for a model, in words that say what to do."""


@dataclass(frozen=True, slots=True)
class Served:
    """A base model at a vLLM server: its address, its name there, and the path or name that vLLM was started with."""

    url: str
    id: str
    root: str


class Servers:
    """Some vLLM servers, one for each base model (replicas are behind one address); safe between threads."""

    def __init__(self, urls: Sequence[str], api_key: str) -> None:
        self._urls = urls
        self._client = httpx2.Client(
            headers=authorization(api_key),
            timeout=httpx2.Timeout(PROBE_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,
        )
        self._lock = threading.Lock()
        self._served: list[Served] = []
        self._read_at = -_FRESH_SECONDS

    def served(self, base: str) -> Served:
        """Where a base model is served: by its name (`--served-model-name`), or by a path that ends in it.

        Read again every half minute, and at once when it is not found. Raises NotServed.
        """
        with self._lock:
            found = self._find(base) if time.monotonic() < self._read_at + _FRESH_SECONDS else None
            problems: list[str] = []
            if found is None:
                problems = self._read()
                found = self._find(base)
            if found is None:
                known = ", ".join(sorted(served.id for served in self._served)) or "nothing"
                reason = "; ".join(problems) or f"it serves {known}: start vllm serve with --served-model-name {base}"
                raise NotServed(f"vLLM does not serve the base model {base!r}: {reason}")
            return found

    def check(self, base: str, model: str) -> None:
        """Ask a model for one token. Raises NotServed."""
        served = self.served(base)
        name = served.id if model == base else adapter_name(model)
        body = {"model": name, "prompt": "Hello", "max_tokens": 1}
        try:
            answer = self._client.post(f"{served.url}/v1/completions", json=body)
        except httpx2.HTTPError as error:
            raise NotServed(f"vLLM at {served.url} does not answer: {_reason(error)}") from None
        if answer.status_code != 200:
            raise NotServed(
                f"vLLM at {served.url} refuses the model: {answer.status_code} {message_of(answer.content)}"
            )
        try:
            if not answer.json()["choices"]:
                raise ValueError("no choices")
        except (ValueError, LookupError, TypeError) as error:
            raise NotServed(f"vLLM at {served.url} answers with something else than a completion: {error}") from None

    def unload(self, base: str, model: str) -> None:
        """Let one vLLM forget an adapter whose folder was removed; others forget it at their restart."""
        try:
            served = self.served(base)
            self._client.post(f"{served.url}/v1/unload_lora_adapter", json={"lora_name": adapter_name(model)})
        except (NotServed, httpx2.HTTPError):
            return

    def _find(self, base: str) -> Served | None:
        return next((s for s in self._served if base in (s.id, PurePosixPath(s.id).name)), None)

    def _read(self) -> list[str]:
        """Read all servers' lists. Returns what went wrong; a server that does not answer is taken for unchanged."""
        problems: list[str] = []
        served: list[Served] = []
        for url in self._urls:
            try:
                answer = self._client.get(f"{url}/v1/models", timeout=CONNECT_SECONDS)
                answer.raise_for_status()
                entries = answer.json()["data"]
                served += [Served(url, e["id"], e.get("root") or e["id"]) for e in entries if not e.get("parent")]
            except (httpx2.HTTPError, ValueError, LookupError, TypeError) as error:
                problems.append(f"{url}/v1/models: {_reason(error)}")
                served += [old for old in self._served if old.url == url]
        self._served, self._read_at = served, time.monotonic()
        return problems


def authorization(api_key: str) -> dict[str, str]:
    """The header with vLLM's `--api-key`, if it has one."""
    return {"authorization": f"Bearer {api_key}"} if api_key else {}


def message_of(content: bytes) -> str:
    """The message of vLLM's error body, in its present form or the one until 0.9."""
    error = error_of(content)
    return str(error.get("message") or content[:200].decode("utf-8", "replace"))


def error_of(content: bytes) -> dict[str, Any]:
    """vLLM's error object; empty if the body is none."""
    try:
        value = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    error = value.get("error", value)
    return error if isinstance(error, dict) else {"message": str(error)}


def _reason(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
