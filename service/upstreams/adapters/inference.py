"""The inference calls, whose bodies are passed on as JSON without the SDK's types."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2

from service.upstreams.adapters.client import ApiClient, decode_object
from service.upstreams.adapters.outcomes import error_kind_of_status, retry_after
from service.upstreams.port import Completion, CompletionStream


class InferenceCalls(ApiClient):
    """Chat and text completions of one account."""

    async def complete(self, path: str, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Completion:
        """Send one call. Raises `httpx2.HTTPError` when no response arrives."""
        idempotency = {} if idempotency_key is None else {"idempotency-key": idempotency_key}
        try:
            response = await self._http.post(
                self._model_url(path, body),
                json=body,
                headers={**self._client.auth_headers, **idempotency},
                timeout=self._inference_timeout,
            )
        except httpx2.HTTPError:
            self.call_ended("away")
            raise
        return self._completion(response, response.content)

    async def stream(self, path: str, body: Mapping[str, Any]) -> Completion | CompletionStream:
        """Open a streamed call: a stream if its status is a success, else the whole refusal."""
        request = self._http.build_request(
            "POST",
            self._model_url(path, body),
            json=body,
            headers=self._client.auth_headers,
            timeout=self._inference_timeout,
        )
        try:
            response = await self._http.send(request, stream=True)
            if response.is_success:
                self.call_ended(None)
                return _EventStream(response)
            try:
                content = await response.aread()
            finally:
                await response.aclose()
        except httpx2.HTTPError:
            self.call_ended("away")
            raise
        return self._completion(response, content)

    def _model_url(self, path: str, body: Mapping[str, Any]) -> str:
        """The URL of a call for the model that `body` names."""
        return self._url(path)

    def _completion(self, response: httpx2.Response, content: bytes) -> Completion:
        self.call_ended(error_kind_of_status(response.status_code))
        body = decode_object(content)
        return Completion(
            status=response.status_code,
            body=body if response.is_success else self.without_credential(body),
            retry_after_seconds=retry_after(response.headers),
        )


class _EventStream:
    """The decoded server-sent events of one response."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        async for line in self._response.aiter_lines():
            if line.startswith("data:"):
                data = line.removeprefix("data:").strip()
                if data == "[DONE]":
                    return
                yield decode_object(data.encode())

    async def aclose(self) -> None:
        await self._response.aclose()
