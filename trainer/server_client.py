"""How a training process calls the server: each call is repeated while the server is unavailable."""

import logging
import random
import time
from collections.abc import Callable, Sequence

import httpx2
import msgspec

from .engines.port import Fenced
from .reports import Assignment, Report

GIVE_UP_SECONDS = 600.0
"""How long a server may be unavailable, as for an upgrade; then the process ends, and a later one continues its job."""
_TIMEOUT_SECONDS = 60.0
_MAX_PAUSE_SECONDS = 5.0
_log = logging.getLogger("trainer.train")


class ServerGone(Exception):
    """The server did not answer for `GIVE_UP_SECONDS`, or refused a call."""


class ServerClient:
    """Calls the internal routes of one attempt, whose address is `url`; `between` is called before each repetition."""

    def __init__(self, url: str, token: str, *, between: Callable[[], None], give_up_seconds: float) -> None:
        self._url, self._between, self._give_up_seconds = url, between, give_up_seconds
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        self._http = httpx2.Client(headers=headers, timeout=_TIMEOUT_SECONDS, trust_env=False)

    def assignment(self) -> Assignment:
        """The job to work on. Raises Fenced and ServerGone."""
        return msgspec.json.decode(self._call("GET", "", None), type=Assignment)

    def report(self, reports: Sequence[Report]) -> None:
        """Deliver reports in order; none ask only whether this process owns its job. Raises Fenced and ServerGone."""
        self._call("POST", "/reports", msgspec.json.encode(reports))

    def _call(self, method: str, path: str, body: bytes | None) -> bytes:
        deadline = time.monotonic() + self._give_up_seconds
        pause = 0.05
        while True:
            try:
                response = self._http.request(method, self._url + path, content=body)
            except httpx2.TransportError as error:
                problem = repr(error)
            else:
                if response.is_success:
                    return response.content
                problem = f"{response.status_code} {response.text[:2_000]}"
                if response.status_code == 409:
                    raise Fenced(problem)
                if response.status_code < 500 and response.status_code != 429:
                    raise ServerGone(f"the server refused {method} {path}: {problem}")
            if time.monotonic() > deadline:
                raise ServerGone(f"the server did not answer for {self._give_up_seconds:.0f} seconds: {problem}")
            _log.warning("the server is unavailable, trying again: %s", problem)
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, _MAX_PAUSE_SECONDS)
            self._between()
