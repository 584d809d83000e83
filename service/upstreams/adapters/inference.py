"""The inference calls, whose bodies are passed on as JSON without the SDK's types."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import httpx2
import msgspec

from service.off_loop import off_loop
from service.project_memory import MemoryReservation
from service.upstreams.adapters.answers import PIECE_BYTES, STREAM_FACTOR, EventStream, pieces, read_object
from service.upstreams.adapters.client import CONNECT_SECONDS, ApiClient, Connection
from service.upstreams.adapters.statuses import error_kind_of_status, retry_after
from service.upstreams.adapters.transport import STREAMED
from service.upstreams.port import Completion, CompletionStream

MAX_PARSED_URLS = 256
"""URLs that are not parsed anew for each call: two for an account, or for a deployment of Azure's."""


class InferenceClient(ApiClient):
    """Chat and text completions of one account.

    Requests go to the transport itself: what an `httpx2.AsyncClient` does around it (cookies, redirects, its own log)
    is not wanted here, and takes as much time as the rest.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        timeout = httpx2.Timeout(connection.inference_timeout, connect=CONNECT_SECONDS)
        self._extensions = {**STREAMED, "timeout": timeout.as_dict()}

    async def complete(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        memory: MemoryReservation,
        size_bytes: int = 0,
        idempotency_key: str | None = None,
    ) -> Completion:
        """Send one call. Raises `httpx2.HTTPError` when no response arrives, and `AnswerRefused`."""
        response = await self._send(path, body, size_bytes=size_bytes, idempotency_key=idempotency_key)
        return await self._completion(response, memory)

    async def stream(
        self, path: str, body: Mapping[str, Any], *, memory: MemoryReservation, size_bytes: int = 0
    ) -> Completion | CompletionStream:
        """Open a streamed call: a stream if its status is a success, else the whole refusal."""
        response = await self._send(path, body, size_bytes=size_bytes)
        if response.is_success:
            self.call_ended(None)
            return EventStream(response, max_bytes=STREAM_FACTOR * self._max_answer_bytes)
        return await self._completion(response, memory)

    async def _send(
        self, path: str, body: Mapping[str, Any], *, size_bytes: int, idempotency_key: str | None = None
    ) -> httpx2.Response:
        content = await off_loop(size_bytes, msgspec.json.encode, body)
        idempotency = {} if idempotency_key is None else {"idempotency-key": idempotency_key}
        request = httpx2.Request(
            "POST",
            _parsed(self._model_url(path, body)),
            content=content if len(content) <= PIECE_BYTES else pieces(content),
            headers={
                **self._http.headers,
                **self._auth_headers(),
                **idempotency,
                "content-type": "application/json",
                "content-length": str(len(content)),
            },
            extensions=self._extensions,
        )
        try:
            return await self._transport.handle_async_request(request)
        except httpx2.HTTPError:
            self.call_ended("away")
            raise

    def _model_url(self, path: str, body: Mapping[str, Any]) -> str:
        """The URL of a call for the model that `body` names."""
        return self._url(path)

    async def _completion(self, response: httpx2.Response, memory: MemoryReservation) -> Completion:
        try:
            body = await read_object(response, max_bytes=self._max_answer_bytes, memory=memory)
        except httpx2.HTTPError:
            self.call_ended("away")
            raise
        finally:
            await response.aclose()
        self.call_ended(error_kind_of_status(response.status_code))
        return Completion(
            status=response.status_code,
            body=body if response.is_success else self.without_credential(body),
            retry_after_seconds=retry_after(response.headers),
            size_bytes=response.num_bytes_downloaded,
        )


@lru_cache(maxsize=MAX_PARSED_URLS)
def _parsed(url: str) -> httpx2.URL:
    return httpx2.URL(url)
