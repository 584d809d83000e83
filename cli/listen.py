"""`tunegate listen`: forwards a project's webhook events to a developer's machine, signed like the gateway's.

They arrive as server-sent events, so this machine need not be reachable from outside. The body of each event has the
bytes that an endpoint would get; it is signed here, with a secret that never leaves the machine.
"""

import asyncio
import contextlib
import datetime as dt
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from rich.console import Console
from rich.text import Text

from cli.client import refusal
from cli.dev import SteadyConsole
from cli.errors import Refused
from cli.gateway import Gateway
from cli.listen_secret import load_or_create, secret_file
from service.errors import SettingsError
from service.webhooks.sender import USER_AGENT
from service.webhooks.signing import signed_headers

SILENCE_SECONDS = 45.0
"""A stream without a line for this time is broken: the gateway sends a comment every 15 s."""

FORWARD_SECONDS = 20.0
MIN_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.5, 10.0
RETRIED_STATUSES = (408, 409, 429)


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """One event of the stream: its id, its type and the exact bytes of its body. An empty one only marks a position."""

    id: str
    type: str
    body: bytes


def listen(
    gateway: Gateway, *, forward_to: str, event_types: Sequence[str], folder: Path, new_secret: bool = False
) -> int:
    """Forward events until Ctrl-C or SIGTERM. Returns 0.

    The signing secret is stored in `folder`; `new_secret` replaces it. Raises `SettingsError` for an invalid URL or
    an unusable folder, and `Refused` if the gateway refuses, where a retry would not help.
    """
    if urlsplit(forward_to).scheme not in ("http", "https") or not urlsplit(forward_to).hostname:
        raise SettingsError(f"--forward-to must be an http or https URL, not {forward_to!r}.")
    console = SteadyConsole(highlight=False)

    def secret_of(project_id: str) -> str:
        return load_or_create(secret_file(folder, gateway.base_url, project_id), new=new_secret)

    asyncio.run(_until_stopped(Listener(gateway, forward_to, event_types, secret_of, console).run()))
    console.print("stopped", style="dim")
    return 0


class Listener:
    """Forwards the events of one stream, and resumes after the last forwarded one.

    `secret_of` is called once, with the id of the key's project.
    """

    def __init__(
        self,
        gateway: Gateway,
        forward_to: str,
        event_types: Sequence[str],
        secret_of: Callable[[str], str],
        console: Console,
    ) -> None:
        self._gateway = gateway
        self._forward_to = forward_to
        self._event_types = event_types
        self._secret_of = secret_of
        self._secret = ""
        self._console = console
        self._last_id: str | None = None

    async def run(self) -> None:
        """Forward events; reconnect after the last one when the stream breaks. Raises `Refused`, `SettingsError`."""
        wait_seconds = MIN_WAIT_SECONDS
        async with httpx2.AsyncClient(timeout=FORWARD_SECONDS, trust_env=False, follow_redirects=False) as target:
            while True:
                try:
                    if not self._secret:
                        await self._find_secret()
                    async for event in self._stream():
                        wait_seconds = MIN_WAIT_SECONDS
                        if event.body:
                            await self._forward(target, event)
                        self._last_id = event.id
                    problem = "the stream ended"
                except httpx2.HTTPError as error:
                    problem = type(error).__name__
                self._print(Text(f"{problem}; listening again", style="yellow"))
                await asyncio.sleep(wait_seconds * random.uniform(0.8, 1.2))  # noqa: S311
                wait_seconds = min(2 * wait_seconds, MAX_WAIT_SECONDS)

    async def _find_secret(self) -> None:
        async with httpx2.AsyncClient(base_url=self._gateway.base_url) as client:
            answer = await client.get("/project", headers=self._gateway.headers())
        if answer.status_code != 200:
            self._check(answer)
        self._secret = self._secret_of(str(answer.json()["id"]))
        self._console.print(f"Signing secret: {self._secret}", soft_wrap=True)
        self._console.print(
            "  (OPENAI_WEBHOOK_SECRET of the program that receives; the next run has the same, unless --new-secret)",
            style="dim",
            soft_wrap=True,
        )

    async def _stream(self) -> AsyncIterator[StreamedEvent]:
        headers = self._gateway.headers() | ({"last-event-id": self._last_id} if self._last_id else {})
        params = {"stream": "true"} | ({"event_types": ",".join(self._event_types)} if self._event_types else {})
        timeout = httpx2.Timeout(10.0, read=SILENCE_SECONDS)
        async with (
            httpx2.AsyncClient(base_url=self._gateway.base_url, timeout=timeout) as client,
            client.stream("GET", "/webhook_events", params=params, headers=headers) as answer,
        ):
            if answer.status_code != 200:
                await answer.aread()
                self._check(answer)
            self._print(Text.assemble("listening; forwarding to ", (self._forward_to, "bold")))
            async for event in parse_events(answer.aiter_lines()):
                yield event

    def _check(self, answer: httpx2.Response) -> None:
        """Raises `Refused`, or `HTTPError` where a retry may help."""
        if answer.status_code >= 500 or answer.status_code in RETRIED_STATUSES:
            raise httpx2.RemoteProtocolError(f"HTTP {answer.status_code}")
        raise Refused(refusal(answer), status=answer.status_code)

    async def _forward(self, target: httpx2.AsyncClient, event: StreamedEvent) -> None:
        signed = signed_headers(
            message_id=event.id, now=dt.datetime.now(dt.UTC), body=event.body, secrets=[self._secret]
        )
        headers = {"content-type": "application/json", "user-agent": USER_AGENT, **signed}
        started = time.monotonic()
        try:
            answer = await target.post(self._forward_to, content=event.body, headers=headers)
            result, style = str(answer.status_code), "green" if answer.is_success else "red"
        except httpx2.HTTPError as error:
            result, style = type(error).__name__, "red"
        latency_ms = round((time.monotonic() - started) * 1000)
        self._print(Text.assemble((result, style), f"  {latency_ms} ms  {event.type}  ", (event.id, "dim")))

    def _print(self, text: Text) -> None:
        self._console.print(Text.assemble((f"{dt.datetime.now():%H:%M:%S} ", "dim"), text), soft_wrap=True)


async def parse_events(lines: AsyncIterator[str]) -> AsyncIterator[StreamedEvent]:
    """Parse server-sent events (HTML standard, "Server-sent events"), each with one line of data."""
    last_id, type, body = "", "", b""
    async for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "id":
                last_id = value
            case "event":
                type = value
            case "data":
                body = value.encode()
            case "" if not line and last_id:
                yield StreamedEvent(last_id, type, body)
                type, body = "", b""


async def _until_stopped(running: Coroutine[object, object, None]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listening, stopping = asyncio.create_task(running), asyncio.create_task(stop.wait())
    await asyncio.wait({listening, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if listening.done():
        listening.result()
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening
