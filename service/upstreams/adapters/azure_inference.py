"""Inference at Azure OpenAI, where the key is in the `api-key` header and URLs name a deployment and an API version."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from service.states import UpstreamKind
from service.upstreams.adapters.client import Connection
from service.upstreams.adapters.inference import InferenceClient

DEFAULT_API_VERSION = "2024-10-21"


class AzureInferenceClient(InferenceClient):
    """Chat and text completions of one Azure OpenAI resource, whose endpoint is the base URL, without `/openai`."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._base_url += "/openai"
        self._api_version = connection.api_version or DEFAULT_API_VERSION

    def _auth_headers(self) -> dict[str, str]:
        return {"api-key": self._api_key}

    def _url(self, path: str) -> str:
        return f"{super()._url(path)}?api-version={quote(self._api_version, safe='')}"

    def _model_url(self, path: str, body: Mapping[str, Any]) -> str:
        return self._url(f"/deployments/{quote(str(body.get('model')), safe='')}{path}")


INFERENCE_CLIENTS: dict[UpstreamKind, type[InferenceClient]] = {
    "openai": InferenceClient,
    "azure": AzureInferenceClient,
}
"""The clients of a process that only relays inference calls, by an account's kind. They need no SDK."""
