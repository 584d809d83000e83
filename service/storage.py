"""Dataset bytes in an object store: a local folder, S3, GCS or Azure, by one URL (obstore)."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.store import LocalStore, ObjectStore, from_url

READ_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """What was written: its length and its SHA-256 in hex."""

    size_bytes: int
    sha256: str


class Storage:
    """Objects by key. Nothing is ever changed in place, so a key is written once and read or deleted afterwards."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._store = _open(url)

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> Stored:
        """Write a stream, counting and hashing it. When `chunks` raises, nothing is left behind."""
        digest = hashlib.sha256()
        size_bytes = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size_bytes
            async for chunk in chunks:
                size_bytes += len(chunk)
                digest.update(chunk)
                yield chunk

        await obstore.put_async(self._store, key, counted(), use_multipart=True)
        return Stored(size_bytes, digest.hexdigest())

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """The object in chunks of about 1 MB. Raises `FileNotFoundError`."""
        found = await obstore.get_async(self._store, key)
        async for chunk in found.stream(min_chunk_size=READ_CHUNK_BYTES):
            yield bytes(chunk)

    def read_sync(self, key: str) -> Iterator[bytes]:
        """The same for a process without a loop."""
        for chunk in obstore.get(self._store, key).stream(min_chunk_size=READ_CHUNK_BYTES):
            yield bytes(chunk)

    async def delete(self, key: str) -> None:
        """Remove the object; one that is gone already is fine."""
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return

    async def ping(self) -> bool:
        """Whether the store answers: a look at a key that need not exist."""
        try:
            await obstore.head_async(self._store, "ping")
        except FileNotFoundError:
            return True
        except Exception:
            return False
        return True


def _open(url: str) -> ObjectStore:
    if url.startswith("file://"):
        folder = Path(url.removeprefix("file://")).absolute()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return LocalStore(folder, mkdir=True)
    return from_url(url)
