"""`tunegate listen`: a project's events on a developer's machine, signed as the gateway signs them.

The events come as server-sent events, so nothing has to reach this machine from outside. The bytes of each are the
bytes that an endpoint would get; they are signed here with a secret of this run, which never leaves the machine.
"""

import asyncio
import contextlib
import datetime as dt
import random
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2
from rich.console import Console
from rich.text import Text

from cli.dev import SteadyConsole
from cli.gateway import Gateway, refusal
from service.errors import SettingsError
from service.webhooks.sender import USER_AGENT
from service.webhooks.signing import new_secret, signed_headers

SILENCE_SECONDS = 45.0
"""A stream that is silent for so long is dead: the gateway says every 15 s that it is still there."""

FORWARD_SECONDS = 20.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 10.0
AGAIN = (408, 409, 429)


class ListenFailed(Exception):
    """The gateway refuses the stream; trying again would not help."""


@dataclass(frozen=True, slots=True)
class Told:
    """One event of the stream: its id, its type, and the exact bytes of its body (empty: only the place)."""

    id: str
    type: str
    body: bytes


def listen(gateway: Gateway, *, forward_to: str, event_types: Sequence[str]) -> int:
    """Forward events until Ctrl-C or SIGTERM: 0; 1 when the gateway refuses. Raises `SettingsError` for a bad URL."""
    if urlsplit(forward_to).scheme not in ("http", "https") or not urlsplit(forward_to).hostname:
        raise SettingsError(f"--forward-to must be an http or https URL, not {forward_to!r}.")
    console = SteadyConsole(highlight=False)
    try:
        asyncio.run(_until_stopped(Listener(gateway, forward_to, event_types, new_secret(), console).run()))
    except ListenFailed as error:
        SteadyConsole(stderr=True, highlight=False).print(Text(f"tunegate: {error}", style="red"), soft_wrap=True)
        return 1
    console.print("stopped", style="dim")
    return 0


class Listener:
    """One run: where events come from, where they go, and how far it has come."""

    def __init__(
        self, gateway: Gateway, forward_to: str, event_types: Sequence[str], secret: str, console: Console
    ) -> None:
        self._gateway = gateway
        self._forward_to = forward_to
        self._event_types = event_types
        self._secret = secret
        self._console = console
        self._last_id: str | None = None

    async def run(self) -> None:
        """Listen, and listen again where it stopped when the gateway was away. Raises `ListenFailed`."""
        self._console.print(f"Signing secret: {self._secret}", soft_wrap=True)
        self._console.print("  (for this run: OPENAI_WEBHOOK_SECRET of the program that receives)", style="dim")
        wait_seconds = FIRST_WAIT_SECONDS
        async with httpx2.AsyncClient(timeout=FORWARD_SECONDS, trust_env=False, follow_redirects=False) as there:
            while True:
                try:
                    async for told in self._stream():
                        wait_seconds = FIRST_WAIT_SECONDS
                        if told.body:
                            await self._forward(there, told)
                        self._last_id = told.id
                    problem = "the stream ended"
                except httpx2.HTTPError as error:
                    problem = type(error).__name__
                self._say(Text(f"{problem}; listening again", style="yellow"))
                await asyncio.sleep(wait_seconds * random.uniform(0.8, 1.2))  # noqa: S311
                wait_seconds = min(2 * wait_seconds, LONGEST_WAIT_SECONDS)

    async def _stream(self) -> AsyncIterator[Told]:
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
            self._say(Text.assemble("listening; forwarding to ", (self._forward_to, "bold")))
            async for told in events_in(answer.aiter_lines()):
                yield told

    def _check(self, answer: httpx2.Response) -> None:
        """Raises `ListenFailed`, or `HTTPError` where another try may help."""
        if answer.status_code >= 500 or answer.status_code in AGAIN:
            raise httpx2.RemoteProtocolError(f"HTTP {answer.status_code}")
        raise ListenFailed(refusal(answer))

    async def _forward(self, there: httpx2.AsyncClient, told: Told) -> None:
        signed = signed_headers(message_id=told.id, now=dt.datetime.now(dt.UTC), body=told.body, secrets=[self._secret])
        headers = {"content-type": "application/json", "user-agent": USER_AGENT, **signed}
        started = time.monotonic()
        try:
            answer = await there.post(self._forward_to, content=told.body, headers=headers)
            came, style = str(answer.status_code), "green" if answer.is_success else "red"
        except httpx2.HTTPError as error:
            came, style = type(error).__name__, "red"
        latency_ms = round((time.monotonic() - started) * 1000)
        self._say(Text.assemble((came, style), f"  {latency_ms} ms  {told.type}  ", (told.id, "dim")))

    def _say(self, text: Text) -> None:
        self._console.print(Text.assemble((f"{dt.datetime.now():%H:%M:%S} ", "dim"), text), soft_wrap=True)


async def events_in(lines: AsyncIterator[str]) -> AsyncIterator[Told]:
    """The events of a stream (HTML standard, "Server-sent events"), as far as the gateway uses it: one line of data."""
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
                yield Told(last_id, type, body)
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
