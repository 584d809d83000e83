"""A flood of unknown keys: what it costs is bounded, and it never stands in the way of a good key."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator

import pytest

from service.database.batched_lookups import MAX_QUERIES
from service.database.engine import Database, create_engine
from service.errors import Unauthenticated
from service.identity import key_lookup
from service.identity.audit import Actor
from service.identity.authentication import Authenticator
from service.identity.key_lookup import KeyLookup
from service.identity.keys import fingerprint, new_key
from service.identity.refused_requests import MAX_WRITERS, UNKNOWN_KEY_SUBJECTS, Refused
from service.wakeups import Wakeups
from tests.http.fixtures import Api
from tests.identity.fixtures import AdminApi, Connections

CLIENT = Actor(kind="session", ip_address="192.0.2.1")


@pytest.fixture
async def db(admin_api: AdminApi) -> AsyncIterator[Database]:
    """The API's database, with a pool as large as a process has by default."""
    opened = Database(create_engine(admin_api.database_url, pool_size=20), Wakeups(""))
    yield opened
    await opened.close()


async def test_a_flood_uses_few_connections_and_a_good_key_gets_through(db: Database, api: Api) -> None:
    connections, authenticator = Connections(db), Authenticator(db)

    async def outcome(number: int, key: str) -> bool:
        await asyncio.sleep(number / len(keys))  # one after the other, faster than a query ends
        try:
            await authenticator.project_caller(key, method="GET", client=CLIENT)
        except Unauthenticated:
            return False
        return True

    keys = [new_key("project") for _ in range(2000)]
    keys[1000] = api.one.key
    outcomes = await asyncio.gather(*(outcome(number, key) for number, key in enumerate(keys)))
    await authenticator.close()
    assert [key for key, good in zip(keys, outcomes, strict=True) if good] == [api.one.key]
    assert connections.max <= MAX_QUERIES + MAX_WRITERS


async def test_made_up_keys_displace_no_good_one(db: Database, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_lookup, "CACHE_SECONDS", 600.0)
    monkeypatch.setattr(key_lookup, "MAX_CACHED", 5)
    lookup, good = KeyLookup(db), fingerprint(api.one.key)
    assert await lookup.find(good) is not None
    for number in range(20):
        assert await lookup.find(fingerprint(f"made up {number}")) is None
    connections = Connections(db)
    assert await lookup.find(good) is not None
    assert connections.max == 0, "it is still cached"
    assert await lookup.find(fingerprint("made up 19")) is None
    assert connections.max == 0, "so is what does not exist"


def test_refusals_of_unknown_keys_share_sixteen_entries_an_hour() -> None:
    start = dt.datetime(2026, 11, 30, 9, 0, tzinfo=dt.UTC)
    entries = {
        (refused.subject, refused.counted_from(start + dt.timedelta(seconds=second)))
        for second in range(3600)
        for refused in [Refused(kind="unknown_key", sha256=fingerprint(new_key("project")))]
    }
    assert len(entries) <= UNKNOWN_KEY_SUBJECTS
    known = Refused(kind="revoked_key", sha256=b"1", key_id="key_1")
    assert known.counted_from(start + dt.timedelta(seconds=90)) == start + dt.timedelta(minutes=1)
