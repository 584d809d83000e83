"""The HTTP client of all commands: one for a project's resources, one for the organisation's API.

It has what a person at a terminal needs: every refusal is one line, a request that may be repeated is repeated, and
a response that was lost does not create anything twice.
"""

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any, Self

import httpx2

from cli.errors import Refused, ReportPending, Unreachable
from service.backoff import backoff_seconds

TIMEOUT_SECONDS = 60.0
MAX_ATTEMPTS = 4
MAX_RETRY_AFTER_SECONDS = 10.0
RETRIED_STATUSES = frozenset({429, 502, 503, 504})
PAGE_SIZE = 100
MAX_SHOWN_BODY = 200


@dataclass(frozen=True)
class Listing:
    """The objects of a list that were read, in the API's order, and whether it has more."""

    data: list[dict[str, Any]] = field(default_factory=list)
    has_more: bool = False

    def as_object(self) -> dict[str, Any]:
        """As the API's lists."""
        return {"object": "list", "data": self.data, "has_more": self.has_more}


class Client:
    """Calls one gateway with one key. Paths are those after `/v1`. Every method raises `Refused`."""

    def __init__(self, base_url: str, key: str) -> None:
        self._base_url = base_url
        self._http = httpx2.Client(
            base_url=base_url, headers={"authorization": f"Bearer {key}"}, timeout=TIMEOUT_SECONDS
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """The body of a GET; parameters that are None are left out."""
        return self._object(self._send("GET", path, params=_given(params)))

    def text(self, path: str, **params: Any) -> str:
        """The text of a GET whose response is not JSON, such as a CSV."""
        return self._send("GET", path, params=_given(params)).text

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The body of a POST. It has an idempotency key, so that it is repeated safely if its response is lost."""
        headers = {"idempotency-key": secrets.token_hex(16)}
        return self._object(self._send("POST", path, json=dict(body or {}), headers=headers))

    def delete(self, path: str, **params: Any) -> dict[str, Any]:
        """The body of a DELETE; parameters that are None are left out."""
        return self._object(self._send("DELETE", path, params=_given(params)))

    def list(self, path: str, *, limit: int | None = None, **params: Any) -> Listing:
        """The first `limit` objects of a list, or all of them, page by page: after `next_after`, else the last id."""
        found: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            size = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit - len(found))
            page = self.get(path, limit=size, after=after, **params)
            found += page["data"]
            if not page["has_more"] or not page["data"] or (limit is not None and len(found) >= limit):
                return Listing(found, bool(page["has_more"]))
            after = page.get("next_after") or page["data"][-1]["id"]

    def upload(self, content: IO[bytes], *, filename: str, purpose: str = "fine-tune") -> dict[str, Any]:
        """The file object of an upload, which is streamed. It is not repeated: a lost response leaves a second file."""
        files = {"file": (filename, content)}
        return self._object(self._send("POST", "/files", repeat=False, data={"purpose": purpose}, files=files))

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[httpx2.Response]:
        """A successful response whose body is read as it arrives: a download, or server-sent events."""
        try:
            with self._http.stream(method, path, **options) as response:
                if not response.is_success:
                    response.read()
                    raise _refused(response)
                yield response
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from None

    def _send(self, method: str, path: str, *, repeat: bool = True, **options: Any) -> httpx2.Response:
        failures = 0
        while True:
            failures += 1
            may_repeat = repeat and failures < MAX_ATTEMPTS
            try:
                response = self._http.request(method, path, **options)
            except httpx2.HTTPError as error:
                if not may_repeat:
                    raise self._unreachable(error) from None
                time.sleep(backoff_seconds(failures - 1, base_seconds=0.2))
                continue
            if response.is_success:
                return response
            pause = _pause_seconds(response, failures)
            if pause is None or not may_repeat:
                raise _refused(response)
            time.sleep(pause)

    def _object(self, response: httpx2.Response) -> dict[str, Any]:
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Refused(
                f"{self._base_url} is not the API of a gateway; it responded with {response.text[:MAX_SHOWN_BODY]!r}."
            )
        return body

    def _unreachable(self, error: httpx2.HTTPError) -> Unreachable:
        why = str(error) or type(error).__name__
        return Unreachable(
            f"The gateway at {self._base_url} cannot be reached: {why}. `tunegate doctor` looks for why."
        )


def refusal(response: httpx2.Response) -> str:
    """The error message of a refused request."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The gateway answered {response.status_code}."


def _refused(response: httpx2.Response) -> Refused:
    try:
        code = str(response.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        code = None
    kind = ReportPending if code == "report_pending" else Refused
    return kind(refusal(response), status=response.status_code, code=code)


def _pause_seconds(response: httpx2.Response, failures: int) -> float | None:
    """How long to wait before the request is repeated; None if a repetition would be refused again."""
    if response.headers.get("x-should-retry") == "false" or response.status_code not in RETRIED_STATUSES:
        return None
    try:
        pause_seconds = float(response.headers["retry-after"])
    except (KeyError, ValueError):
        return backoff_seconds(failures - 1, base_seconds=0.5)
    return pause_seconds if pause_seconds <= MAX_RETRY_AFTER_SECONDS else None


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}
