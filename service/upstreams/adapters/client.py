"""What all calls to one upstream account share: its address and credential, the connections, and how calls ended."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx2

from service.states import UpstreamKind
from service.upstreams.adapters.answers import decode_object
from service.upstreams.adapters.redaction import redacted
from service.upstreams.adapters.statuses import kind_of_refusal, retry_after
from service.upstreams.adapters.transport import UpstreamTransport
from service.upstreams.capabilities import CAPABILITIES, Capabilities
from service.upstreams.port import ErrorKind, UpstreamError

Result = TypeVar("Result")

CHECK_SECONDS = 5.0
CONNECT_SECONDS = 10.0


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


class ApiClient:
    """The client of one account at an OpenAI-compatible base URL."""

    def __init__(self, connection: Connection) -> None:
        self.account_id = connection.account_id
        self.provider = connection.provider
        self.capabilities: Capabilities = CAPABILITIES[connection.kind]
        self._base_url = connection.base_url.rstrip("/")
        self._api_key = connection.api_key
        self._on_call_ended = connection.on_call_ended
        self._deployments = connection.deployments
        self._max_answer_bytes = connection.max_answer_bytes
        self._transport = connection.transport or UpstreamTransport()
        self._http = httpx2.AsyncClient(trust_env=False, follow_redirects=False, transport=self._transport)

    def model_name(self, names: Sequence[str], upstream_name: str) -> str | None:
        """The account's deployment of the model if it names one, else `upstream_name` where no deployment is needed."""
        for name in (*names, upstream_name):
            if name in self._deployments:
                return self._deployments[name]
        return None if self.capabilities.deployments else upstream_name

    async def check(self) -> None:
        """List the models, which every valid key may do. Raises `UpstreamError`."""
        await self._list_models()

    async def base_models(self) -> list[str] | None:
        """The ids of the listed models; None from an upstream without that call. Raises `UpstreamError`."""
        try:
            data = (await self._list_models()).get("data")
        except UpstreamError as error:
            if error.kind in ("not_found", "invalid"):
                return None
            raise
        if not isinstance(data, list):
            return None
        return [each["id"] for each in data if isinstance(each, dict) and isinstance(each.get("id"), str)]

    async def _list_models(self) -> dict[str, Any]:
        error: UpstreamError | None = UpstreamError("away", "cancelled")
        try:
            url = self._url("/models")
            response = await self._http.get(url, headers=self._auth_headers(), timeout=CHECK_SECONDS)
            error = _list_error(response)
        except httpx2.HTTPError as failure:
            error = UpstreamError("away", type(failure).__name__)
        finally:
            self.call_ended(None if error is None else error.kind)
        if error is not None:
            raise error
        return decode_object(response.content)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    def call_ended(self, error: ErrorKind | None) -> None:
        """Report that a call ended; `error` None means success."""
        self._on_call_ended(self.account_id, error)

    def without_credential(self, value: Result) -> Result:
        """`value` with every occurrence of the credential replaced."""
        return redacted(value, self._api_key)

    def _auth_headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._api_key}"}

    def _url(self, path: str) -> str:
        return self._base_url + path


def _list_error(response: httpx2.Response) -> UpstreamError | None:
    """Why a response is no list, or None if it is one."""
    body = decode_object(response.content)
    if response.is_success:
        return None if body else UpstreamError("away", "a response that is no JSON object")
    error = body.get("error", body)
    codes = (error.get("code"), error.get("type")) if isinstance(error, dict) else ()
    kind = kind_of_refusal(response.status_code, codes) or "away"
    return UpstreamError(kind, f"HTTP {response.status_code}", retry_after(response.headers))
