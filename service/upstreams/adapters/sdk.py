"""The official SDK's client of an account, and what the calls that use it share.

Its retries are switched off (`max_retries=0`). It would send a create three times to a server that accepts it and then
resets the connection, without any idempotency key (measured); so the gateway decides about every repetition itself.

Importing the SDK takes a fifth of a process's start, and 25 MB. Only workers import this module: the API process only
relays inference calls, which need no SDK (`inference`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol, TypeVar

import httpx2
import openai
from openai import AsyncOpenAI
from openai.pagination import AsyncCursorPage

from service.upstreams.adapters.answers import decode_object
from service.upstreams.adapters.client import ApiClient, Connection
from service.upstreams.adapters.outcomes import create_outcome
from service.upstreams.port import Created, CreateOutcome, NotSent, Refused, Unknown

Item = TypeVar("Item", bound="_HasId")

PAGE = 100
MAX_PAGES = 200


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


class SdkClient(ApiClient):
    """The client of one account with the SDK's client, which sends its requests by the same connections."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._client = self._new_sdk_client(connection)
        if connection.transport is not None:  # the environment's organisation belongs to the environment's account
            self._client.organization = self._client.project = None
        self._upload_timeout = httpx2.Timeout(connection.upload_timeout, connect=10)

    def _new_sdk_client(self, connection: Connection) -> AsyncOpenAI:
        """The SDK's client; adapters for other providers return their own."""
        return AsyncOpenAI(
            base_url=connection.base_url,
            api_key=connection.api_key,
            max_retries=0,
            timeout=connection.control_timeout,
            http_client=self._http,
        )

    def _create_ended(self, outcome: CreateOutcome) -> CreateOutcome:
        match outcome:
            case Refused(kind="auth" | "quota" | "rate_limit" as kind):
                self.call_ended(kind)
            case Created() | Refused():
                self.call_ended(None)
            case NotSent() | Unknown():
                self.call_ended("away")
        return self.without_credential(outcome)

    def _refused_create(self, response: httpx2.Response) -> CreateOutcome:
        """The outcome of a create whose response is no success, by the SDK's own mapping of statuses to errors."""
        return self._create_ended(create_outcome(self._status_error(response, response.content)))

    def _status_error(self, response: httpx2.Response, content: bytes) -> openai.APIStatusError:
        """The SDK's error for a response that is no success."""
        body = decode_object(content)
        error: openai.APIStatusError = self._client._make_status_error(
            f"Error code: {response.status_code}", body=body.get("error", body), response=response
        )
        return error


async def pages(
    fetch: Callable[[str | openai.Omit], Awaitable[AsyncCursorPage[Item]]], *, max_pages: int = MAX_PAGES
) -> AsyncIterator[AsyncCursorPage[Item]]:
    """The pages of a list until the last one, or `max_pages` of them. `fetch` gets the cursor of each page."""
    after: str | None = None
    for _ in range(max_pages):
        page = await fetch(after or openai.omit)
        yield page
        if is_last(page):
            return
        after = page.data[-1].id


def is_last(page: AsyncCursorPage[Any]) -> bool:
    """Whether no page follows this one."""
    return not page.has_more or not page.data


def created(upstream_id: object) -> CreateOutcome:
    """The outcome of a create that succeeded with this id; without an id it is unknown what was created."""
    if isinstance(upstream_id, str) and upstream_id:
        return Created(upstream_id)
    return Unknown("a response without an id")
