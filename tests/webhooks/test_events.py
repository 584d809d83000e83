"""`/v1/webhook_events`: the list, samples, and the stream, which loses nothing whatever is committed first."""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select, update

from cli.listen import StreamedEvent, parse_events
from service.database.tables import ApiKey, WebhookDelivery, WebhookEvent
from service.webhooks import outbox, stream
from service.webhooks.event_types import CATALOGUE
from tests.http.fixtures import Api
from tests.wire import refusal

SUCCEEDED, PROCESSED = "fine_tuning.job.succeeded", "file.processed"


async def happen(api: Api, subject: str, *, type: str = SUCCEEDED, project_id: str | None = None) -> str:
    """An event, in a transaction of its own: its id."""
    async with api.db.worker() as session:
        return await emitted(session, project_id or api.one.project_id, subject, type=type)


async def emitted(session: Any, project_id: str, subject: str, *, type: str = SUCCEEDED) -> str:
    """The same in a transaction that goes on."""
    return await outbox.emit(
        session, project_id=project_id, type=type, subject=subject, data={}, now=dt.datetime.now(dt.UTC)
    )


@asynccontextmanager
async def listening(http: httpx2.AsyncClient, *, after: str | None = None, **params: str) -> AsyncIterator[Any]:
    """The stream's events, once it listens; its first tells only the place where it begins."""
    headers = {"last-event-id": after} if after else {}
    query = {"stream": "true", **params}
    async with http.stream("GET", "/webhook_events", params=query, headers=headers) as answer:
        if answer.status_code != 200:
            await answer.aread()
            raise AssertionError(answer.text)
        assert answer.headers["content-type"].startswith("text/event-stream")
        received = parse_events(answer.aiter_lines())
        assert (await anext(received)).body == b""
        yield received


async def take(received: AsyncIterator[StreamedEvent], count: int) -> list[StreamedEvent]:
    """The next events; comments that keep the connection alive are none."""
    events: list[StreamedEvent] = []
    async with asyncio.timeout(60):
        while len(events) < count:
            if (event := await anext(received)).body:
                events.append(event)
    return events


class TestList:
    async def test_pages_and_filters(self, api: Api) -> None:
        ids = [await happen(api, f"s-{number}", type=SUCCEEDED if number % 2 else PROCESSED) for number in range(5)]
        await happen(api, "theirs", project_id=api.other.project_id)
        async with api.http() as http:
            first = (await http.get("/webhook_events", params={"limit": 2})).json()
            rest = (await http.get("/webhook_events", params={"after": first["last_id"]})).json()
            assert [each["id"] for each in first["data"] + rest["data"]] == ids[::-1]
            assert (first["has_more"], rest["has_more"]) == (True, False)
            some = (await http.get("/webhook_events", params={"event_types": f"{PROCESSED},file.error"})).json()
            assert [each["data"]["id"] for each in some["data"]] == ["s-4", "s-2", "s-0"]
            assert (await http.get(f"/webhook_events/{ids[0]}")).json() == rest["data"][-1]
            for params, code in (
                ({"after": "evt_none"}, "invalid_cursor"),
                ({"event_types": "job.done"}, "unknown_event_type"),
                ({"stream": "true", "after": "evt_none"}, "invalid_cursor"),
            ):
                answer = await http.get("/webhook_events", params=params)
                assert (answer.status_code, refusal(answer)["code"]) == (400, code)

    async def test_shows_the_very_body_of_the_deliveries(self, api: Api) -> None:
        event_id = await happen(api, "s-1")
        async with api.rows() as session:
            body = (await session.scalars(select(WebhookEvent.body).where(WebhookEvent.id == event_id))).one()
        async with api.http() as http:
            assert (await http.get(f"/webhook_events/{event_id}")).json() == json.loads(body)


class TestTrigger:
    @pytest.mark.parametrize("event_type", CATALOGUE)
    async def test_goes_to_every_subscriber(self, api: Api, event_type: str) -> None:
        async with api.http() as http:
            other = next(name for name in CATALOGUE if name != event_type)
            for types in ([event_type], [other]):
                body = {"name": "x", "url": "https://example.com/hook", "event_types": types}
                assert (await http.post("/webhook_endpoints", json=body)).status_code == 200
            made = (await http.post("/webhook_events", json={"event_type": event_type})).json()
            assert set(made["data"]) == {"id", *CATALOGUE[event_type].data}
            assert made["data"]["project_id"] == api.one.project_id
            assert "sample" in made["data"]["id"] or event_type == "model.retiring"
        async with api.rows() as session:
            assert await session.scalar(select(func.count()).where(WebhookDelivery.event_id == made["id"])) == 1

    async def test_of_no_known_type(self, api: Api) -> None:
        async with api.http() as http:
            answer = await http.post("/webhook_events", json={"event_type": "job.done"})
        assert (answer.status_code, refusal(answer)["param"]) == (400, "event_type")


class TestStream:
    async def test_tells_what_happens_byte_for_byte_and_in_order(self, api: Api) -> None:
        await happen(api, "before")
        async with api.http() as http, listening(http) as received:
            ids = [await happen(api, f"s-{number}") for number in range(250)]
            await happen(api, "theirs", project_id=api.other.project_id)
            events = await take(received, 250)
        assert [event.id for event in events] == ids
        async with api.rows() as session:
            rows = (await session.scalars(select(WebhookEvent).where(WebhookEvent.id.in_(ids)))).all()
        assert {event.id: event.body for event in events} == {row.id: row.body for row in rows}
        assert {event.type for event in events} == {SUCCEEDED}

    async def test_goes_on_after_the_last_id(self, api: Api) -> None:
        ids = [await happen(api, f"s-{number}") for number in range(5)]
        async with api.http() as http:
            async with listening(http, after=ids[1]) as received:
                assert [event.id for event in await take(received, 3)] == ids[2:]
            async with listening(http, after=stream.START) as received:
                assert [event.id for event in await take(received, 5)] == ids

    async def test_begins_at_a_place_that_can_be_come_back_to(self, api: Api) -> None:
        newest = await happen(api, "s-1")
        for who, expected in ((api.one, newest), (api.other, stream.START)):
            query = {"stream": "true"}
            async with api.http(who) as http, http.stream("GET", "/webhook_events", params=query) as answer:
                assert await anext(parse_events(answer.aiter_lines())) == StreamedEvent(expected, "", b"")

    async def test_only_some_types(self, api: Api) -> None:
        async with api.http() as http, listening(http, event_types=PROCESSED) as received:
            await happen(api, "s-1")
            await happen(api, "s-2", type=PROCESSED)
            (event,) = await take(received, 1)
        assert json.loads(event.body)["data"]["id"] == "s-2"

    async def test_loses_nothing_that_is_committed_late(self, api: Api) -> None:
        """The first event gets its place first and is committed last; the stream must not step over it."""
        async with api.http() as http, listening(http) as received:
            slow_has_place, go_on = asyncio.Event(), asyncio.Event()

            async def slow() -> str:
                async with api.db.worker() as session:
                    event_id = await emitted(session, api.one.project_id, "slow")
                    slow_has_place.set()
                    await go_on.wait()
                return event_id

            writing = asyncio.create_task(slow())
            await slow_has_place.wait()
            fast = await happen(api, "quick")
            waiting = asyncio.create_task(take(received, 2))
            await asyncio.sleep(0.5)
            assert not waiting.done()
            go_on.set()
            assert [event.id for event in await waiting] == [await writing, fast]

    async def test_ends_when_the_key_is_revoked(self, api: Api) -> None:
        async with api.http() as http, listening(http) as received:
            async with api.db.admin() as session:
                mine = ApiKey.project_id == api.one.project_id
                await session.execute(update(ApiKey).where(mine).values(revoked_at=func.now()))
            async with asyncio.timeout(60):
                assert not [event async for event in received if event.body], "it ends, without another event"

    async def test_says_that_it_is_still_there(self, api: Api) -> None:
        async with (
            api.http() as http,
            http.stream("GET", "/webhook_events", params={"stream": "true"}) as answer,
            asyncio.timeout(60),
        ):
            async for line in answer.aiter_lines():
                if line == ": still here":
                    break


class TestSettling:
    async def test_without_it_an_event_would_be_stepped_over(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        """The guard taken out: the same order of commits, and the late event is lost."""

        async def unsettled(session: object, project_id: str) -> None:
            """Does not wait for anybody."""

        monkeypatch.setattr(outbox, "settle", unsettled)
        async with api.http() as http, listening(http) as received:
            async with api.db.worker() as session:
                await emitted(session, api.one.project_id, "slow")
                fast = await happen(api, "quick")
                assert [event.id for event in await take(received, 1)] == [fast]
            last = await happen(api, "last")
            assert [event.id for event in await take(received, 1)] == [last]
