"""What all calls to one upstream account share: the SDK's client, the connection, and the record of how calls ended.

The official SDK is used with its retries switched off (`max_retries=0`). It would send a create three times to a server
that accepts it and then resets the connection, without any idempotency key (measured); so the gateway decides about
every repetition itself.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import httpx2
import openai
from openai import AsyncOpenAI
from openai.pagination import AsyncCursorPage

from service.states import UpstreamKind
from service.upstreams.adapters.answers import decode_object
from service.upstreams.adapters.outcomes import create_outcome, raises_upstream_error
from service.upstreams.adapters.redaction import redacted
from service.upstreams.adapters.transport import UpstreamTransport
from service.upstreams.capabilities import CAPABILITIES, Capabilities
from service.upstreams.port import Created, CreateOutcome, ErrorKind, NotSent, Refused, Unknown

Result = TypeVar("Result")
Item = TypeVar("Item", bound="_HasId")

CHECK_SECONDS = 5.0
PAGE = 100
MAX_PAGES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The settings of one client. Timeouts are in seconds; no repr shows the credential.

    `transport` None trusts the base URL, because it comes from the environment. `on_call_ended` receives the account's
    id and the kind of error of every call that ended, None for a success.
    """

    account_id: str
    kind: UpstreamKind
    provider: str
    base_url: str
    api_key: str = field(repr=False)
    api_version: str | None = None
    deployments: Mapping[str, str] = field(default_factory=dict)
    control_timeout: float
    upload_timeout: float
    inference_timeout: float
    max_answer_bytes: int
    transport: httpx2.AsyncBaseTransport | None = field(default=None, repr=False)
    on_call_ended: Callable[[str, ErrorKind | None], None] = field(default=lambda account_id, error: None, repr=False)


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


class ApiClient:
    """The client of one account at an OpenAI-compatible base URL."""

    def __init__(self, connection: Connection) -> None:
        self.account_id = connection.account_id
        self.provider = connection.provider
        self.capabilities: Capabilities = CAPABILITIES[connection.kind]
        self._api_key = connection.api_key
        self._on_call_ended = connection.on_call_ended
        self._deployments = connection.deployments
        self._max_answer_bytes = connection.max_answer_bytes
        self._http = httpx2.AsyncClient(
            trust_env=False, follow_redirects=False, transport=connection.transport or UpstreamTransport()
        )
        self._client = self._new_sdk_client(connection)
        if connection.transport is not None:  # the environment's organisation belongs to the environment's account
            self._client.organization = self._client.project = None
        self._upload_timeout = httpx2.Timeout(connection.upload_timeout, connect=10)
        self._inference_timeout = httpx2.Timeout(connection.inference_timeout, connect=10)

    def model_name(self, names: Sequence[str], upstream_name: str) -> str | None:
        """The account's deployment of the model if it names one, else `upstream_name` where no deployment is needed."""
        for name in (*names, upstream_name):
            if name in self._deployments:
                return self._deployments[name]
        return None if self.capabilities.deployments else upstream_name

    @raises_upstream_error
    async def check(self) -> None:
        """List the models, which every valid key may do."""
        await self._client.models.list(timeout=CHECK_SECONDS)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    def call_ended(self, error: ErrorKind | None) -> None:
        """Report that a call ended; `error` None means success."""
        self._on_call_ended(self.account_id, error)

    def without_credential(self, value: Result) -> Result:
        """`value` with every occurrence of the credential replaced."""
        return redacted(value, self._api_key)

    def _new_sdk_client(self, connection: Connection) -> AsyncOpenAI:
        """The SDK's client; adapters for other providers return their own."""
        return AsyncOpenAI(
            base_url=connection.base_url,
            api_key=connection.api_key,
            max_retries=0,
            timeout=connection.control_timeout,
            http_client=self._http,
        )

    def _url(self, path: str) -> str:
        return str(self._client.base_url).rstrip("/") + path

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
