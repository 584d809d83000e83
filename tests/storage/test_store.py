"""What is kept of an object, in a folder and in a store that speaks S3."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service import storage
from service.storage import Storage
from tests.faults.proxy import Proxy
from tests.storage.conftest import URL
from tests.storage.s3 import ObjectStore

CONTENT = bytes(range(256)) * 50_000  # 12.8 MB, three parts


@pytest.fixture(params=["a folder", "S3"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty store."""
    if request.param == "S3":
        request.getfixturevalue("link")
        return Storage(URL)
    return Storage(f"file://{tmp_path}")


async def pieces(content: bytes, *, breaks: bool = False) -> AsyncIterator[bytes]:
    """The content, 1 MB at a time; `breaks`: its sender goes away at the end."""
    for begin in range(0, len(content), 1_000_000):
        yield content[begin : begin + 1_000_000]
    if breaks:
        raise EOFError


async def test_what_is_written_is_read(kept: Storage) -> None:
    stored = await kept.put("one/large", pieces(CONTENT), with_md5=True)
    assert (stored.size_bytes, kept.size_sync("one/large")) == (len(CONTENT), len(CONTENT))
    assert b"".join([chunk async for chunk in kept.read("one/large")]) == CONTENT
    assert b"".join(kept.read_sync("one/large")) == CONTENT
    assert b"".join([chunk async for chunk in kept.read_from("one/large", 9_000_000)]) == CONTENT[9_000_000:]
    assert [chunk async for chunk in kept.read_from("one/large", len(CONTENT))] == []


async def test_one_without_bytes(kept: Storage) -> None:
    assert (await kept.put("empty", pieces(b""))).size_bytes == 0
    assert [chunk async for chunk in kept.read("empty")] == list(kept.read_sync("empty")) == []


async def test_one_that_is_not_there(kept: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        [chunk async for chunk in kept.read("missing")]
    with pytest.raises(FileNotFoundError):
        list(kept.read_sync("missing"))
    await kept.delete("missing")
    assert await kept.ping()


async def test_lists_and_deletes(kept: Storage) -> None:
    for key in ("one/a", "one/b", "other/a"):
        kept.put_sync(key, io.BytesIO(b"x"))
    assert [key async for keys in kept.keys("one/") for key in sorted(keys)] == ["one/a", "one/b"]
    await kept.delete_all(["one/a", "one/b"])
    assert [keys async for keys in kept.keys("one/")] == []
    assert [keys async for keys in kept.keys("other/")] == [["other/a"]]


async def test_a_sender_that_goes_away_leaves_nothing(link: Proxy, store: ObjectStore) -> None:
    with pytest.raises(EOFError):
        await Storage(URL).put("broken", pieces(CONTENT, breaks=True))
    assert (store.objects, store.uploads) == ({}, {})


async def test_no_request_lasts_as_long_as_a_slow_reader_takes(
    link: Proxy, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store ends a request that is not read for half a minute."""
    monkeypatch.setattr(storage, "READ_RANGE_BYTES", 5_000_000)
    kept = Storage(URL)
    await kept.put("large", pieces(CONTENT))
    assert b"".join([chunk async for chunk in kept.read("large")]) == CONTENT
    assert b"".join(kept.read_sync("large")) == CONTENT
    assert store.largest_range == 5_000_000


async def test_a_folder_that_has_gone_is_unavailable(tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path / 'store'}")
    assert await storage.ping()
    (tmp_path / "store").rmdir()
    assert not await storage.ping()
