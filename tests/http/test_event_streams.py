"""Event streams of all kinds share a maximum of a project, and its streams together fetch only so often."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import httpx2
import pytest

from service.errors import NotFound, QuotaExceeded
from service.http.event_streams import MAX_FETCHES_PER_SECOND, EventBatch, EventStreams, StreamedEvent
from tests.http.fixtures import MAX_STREAMS, Api
from tests.wire import refusal

STREAM = {"stream": "true"}
OF_A_JOB = "/fine_tuning/jobs/ftjob-none/events"
OF_RUNS = ("/dataset_generations/gen_none/events", "/model_comparisons/cmp_none/events")


async def _opened(http: httpx2.AsyncClient, opened: AsyncExitStack) -> None:
    answer = await opened.enter_async_context(http.stream("GET", "/webhook_events", params=STREAM))
    assert answer.status_code == 200
    lines = answer.aiter_lines()
    opened.callback(id, lines)  # an iterator that nothing refers to would close the response
    assert (await anext(lines)).startswith("id: ")


class TestMaximum:
    async def test_is_of_all_kinds_together_and_refuses_before_any_query(self, api: Api) -> None:
        async with api.http() as http, AsyncExitStack() as opened:
            for _ in range(MAX_STREAMS):
                await _opened(http, opened)
            for path in ("/webhook_events", OF_A_JOB, *OF_RUNS):
                answer = await http.get(path, params=STREAM)
                assert (answer.status_code, refusal(answer)["code"]) == (429, "too_many_streams"), path
                assert f"{MAX_STREAMS} event streams" in answer.text
                assert "TUNEGATE_MAX_EVENT_STREAMS" in answer.text
                assert answer.headers["x-should-retry"] == "false"
            theirs = await opened.enter_async_context(api.http(api.other))
            assert (await theirs.get(OF_A_JOB, params=STREAM)).status_code == 404
            await _opened(theirs, opened)

    async def test_closed_streams_make_room(self, api: Api) -> None:
        async with api.http() as http:
            async with AsyncExitStack() as opened:
                for _ in range(MAX_STREAMS):
                    await _opened(http, opened)
            async with asyncio.timeout(60):
                status = 429
                while status == 429:
                    async with http.stream("GET", "/webhook_events", params=STREAM) as again:
                        status = again.status_code
                    await asyncio.sleep(0.05)
            assert status == 200

    async def test_refused_requests_occupy_no_place(self, api: Api) -> None:
        async with api.http() as http, AsyncExitStack() as opened:
            for path in (OF_A_JOB, *OF_RUNS) * MAX_STREAMS:
                assert (await http.get(path, params=STREAM)).status_code == 404
            await _opened(http, opened)

    async def test_a_response_that_never_began_gives_its_place_back(self) -> None:
        streams = EventStreams(max_streams=1)
        first = await streams.open("proj_a", Quiet(), access_check=allowed)
        with pytest.raises(QuotaExceeded):
            await streams.open("proj_a", Quiet(), access_check=allowed)
        assert first.background is not None
        await first.background()
        await first.background()
        await streams.open("proj_a", Quiet(), access_check=allowed)
        with pytest.raises(QuotaExceeded):
            await streams.open("proj_a", Quiet(), access_check=allowed)


class TestFetches:
    async def test_of_a_project_together_have_a_rate(self) -> None:
        streams, source, other = EventStreams(max_streams=50, poll_seconds=0.001), Quiet(), Quiet()
        loop = asyncio.get_running_loop()
        began = loop.time()
        readers = [asyncio.create_task(_read(streams, "proj_a", source)) for _ in range(50)]
        readers.append(asyncio.create_task(_read(streams, "proj_b", other)))
        while source.fetches < 12 or other.fetches < 2:
            await asyncio.sleep(0.01)
        seconds = loop.time() - began
        assert source.fetches <= seconds * MAX_FETCHES_PER_SECOND + 1
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)

    async def test_alternate(self) -> None:
        streams, sources = EventStreams(max_streams=50, poll_seconds=0.001), [Quiet() for _ in range(4)]
        readers = [asyncio.create_task(_read(streams, "proj_a", source)) for source in sources]
        while sum(source.fetches for source in sources) < 12:
            await asyncio.sleep(0.01)
        assert min(source.fetches for source in sources) >= 2
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)

    async def test_an_ended_source_is_read_to_its_end(self) -> None:
        streams = EventStreams(max_streams=1)
        source = Ending([EventBatch(_events(1, 2), full=True, ended=True), EventBatch(_events(3), False, True)])
        chunks = await _read(streams, "proj_a", source)
        assert Counter(chunk.split(b"\n")[0] for chunk in chunks) == Counter(
            [b"id: e1", b"id: e2", b"id: e3", b"event: done"]
        )
        assert source.positions == [0, 2, 3]
        await streams.open("proj_a", Quiet(), access_check=allowed)  # its place is free


@dataclass
class Quiet:
    """A source without events."""

    fetches: int = 0

    async def begin(self) -> tuple[int, bytes]:
        """From the beginning."""
        return 0, b""

    async def fetch(self, position: int) -> EventBatch:
        """Nothing."""
        self.fetches += 1
        return EventBatch([], full=False, ended=False)


@dataclass
class Ending:
    """A source that has ended, with some batches of events left."""

    batches: list[EventBatch]
    positions: list[int] = field(default_factory=list)

    async def begin(self) -> tuple[int, bytes]:
        """From the beginning."""
        return 0, b""

    async def fetch(self, position: int) -> EventBatch:
        """The next batch."""
        self.positions.append(position)
        return self.batches.pop(0) if self.batches else EventBatch([], full=False, ended=True)


class Missing(Quiet):
    """A source that does not exist."""

    async def begin(self) -> tuple[int, bytes]:
        """Refuse."""
        raise NotFound("No such job.")


async def test_a_source_that_refuses_gives_its_place_back() -> None:
    streams = EventStreams(max_streams=1)
    for _ in range(3):
        with pytest.raises(NotFound):
            await streams.open("proj_a", Missing(), access_check=allowed)


async def allowed() -> None:
    """The key still works."""


def _events(*positions: int) -> list[StreamedEvent]:
    return [StreamedEvent(f"e{position}", "event", position, b"{}") for position in positions]


async def _read(streams: EventStreams, project_id: str, source: Quiet | Ending) -> list[bytes]:
    stream = await streams.open(project_id, source, access_check=allowed)
    assert isinstance(stream.iterator, AsyncGenerator)
    return [chunk async for chunk in stream.iterator]
