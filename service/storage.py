"""Stores the bytes of datasets in an object store: a local folder, S3, GCS or Azure, chosen by a URL (obstore)."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from service.errors import SettingsError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "https")
READ_CHUNK_BYTES = 1024 * 1024
READ_PART_BYTES = 64 * 1024
READ_RANGE_BYTES = 8 * 1024 * 1024
"""Bytes of one request to the store: a request must not last as long as a slow client takes to read a large object."""

WRITE_CHUNK_BYTES = 5 * 1024 * 1024
"""The smallest part that S3 accepts."""

MAX_CONCURRENT_WRITES = 2
"""Parts of one object; memory holds this many chunks and one more (measured in benchmarks/)."""

MAX_CONCURRENT_DELETES = 16
LIST_PAGE_SIZE = 500
MAX_RETRIES = 3
RETRY_SECONDS = 20.0
PING_SECONDS = 2.0
HASH_IN_THREAD_BYTES = 256 * 1024
"""A chunk of at least this size is hashed in a thread, so that the event loop is not blocked."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A written object: its length, its SHA-256 in hex, and its MD5 in hex if that was requested."""

    size_bytes: int
    sha256: str
    md5: str | None = None


class StorageUnavailable(ConnectionError):
    """The store does not answer, or fails for now, as when a disk is full. A later attempt may succeed."""


class Storage:
    """Objects by key. An object is never changed in place: a key is written once, then read or deleted.

    Every method raises `StorageUnavailable` within a minute when the store is unavailable.
    """

    def __init__(self, url: str) -> None:
        """Raises `SettingsError` for the URL of no store, and for a folder that cannot be written."""
        self.url = url
        self._folder = Path(url.removeprefix("file://")).absolute() if url.startswith("file://") else None
        if self._folder is None:
            self._store = _remote(url)
        else:
            _make_folder(self._folder)

    @cached_property
    def _store(self) -> "ObjectStore":
        """The folder, opened with its first object: obstore takes 8 MB, and many an API gets no file for long."""
        from obstore.store import LocalStore

        return LocalStore(self._folder, mkdir=True)

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, with_md5: bool = False) -> Stored:
        """Write a stream, and count and hash its bytes. When `chunks` raises, nothing is left behind."""
        sha256 = hashlib.sha256()
        md5 = hashlib.md5(usedforsecurity=False) if with_md5 else None
        size_bytes = 0

        def digest(chunk: bytes) -> None:
            sha256.update(chunk)
            if md5 is not None:
                md5.update(chunk)

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size_bytes
            async for chunk in chunks:
                size_bytes += len(chunk)
                if len(chunk) < HASH_IN_THREAD_BYTES:
                    digest(chunk)
                else:
                    await asyncio.to_thread(digest, chunk)
                yield chunk

        with _unavailable_errors():
            await self._store.put_async(
                key,
                counted(),
                use_multipart=True,
                chunk_size=WRITE_CHUNK_BYTES,
                max_concurrency=MAX_CONCURRENT_WRITES,
            )
        return Stored(size_bytes, sha256.hexdigest(), md5.hexdigest() if md5 else None)

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """The object in chunks of about 1 MB. Raises `FileNotFoundError`."""
        async for chunk in self.read_from(key, 0, chunk_bytes=READ_CHUNK_BYTES):
            yield chunk

    async def read_from(self, key: str, offset: int, *, chunk_bytes: int = READ_PART_BYTES) -> AsyncIterator[bytes]:
        """The object's bytes from `offset` on, by default in small chunks, for reading only a part of it."""
        with _unavailable_errors():
            size_bytes = (await self._store.head_async(key))["size"]
            for begin, end in _ranges(offset, size_bytes):
                found = await self._store.get_async(key, options={"range": (begin, end)})
                async for chunk in found.stream(min_chunk_size=chunk_bytes):
                    yield bytes(chunk)

    def read_sync(self, key: str) -> Iterator[bytes]:
        """The object in chunks of about 1 MB, for a process without an event loop. Raises `FileNotFoundError`."""
        with _unavailable_errors():
            for begin, end in _ranges(0, self.size_sync(key)):
                found = self._store.get(key, options={"range": (begin, end)})
                for chunk in found.stream(min_chunk_size=READ_CHUNK_BYTES):
                    yield bytes(chunk)

    def put_sync(self, key: str, file: BinaryIO) -> None:
        """Write a whole file, for a process without an event loop."""
        with _unavailable_errors():
            self._store.put(key, file, use_multipart=True, chunk_size=WRITE_CHUNK_BYTES)

    def path(self, key: str) -> Path | None:
        """The object's path on this disk if the store is a folder, else None: for parallel reads at several offsets."""
        return None if self._folder is None else self._folder / key

    def size_sync(self, key: str) -> int:
        """The object's length in bytes. Raises `FileNotFoundError`."""
        with _unavailable_errors():
            return self._store.head(key)["size"]

    async def delete(self, key: str) -> None:
        """Remove the object and what a killed process left while writing it. A key without an object is no error."""
        if self._folder is not None:
            await asyncio.to_thread(_remove_staged, self._folder / key)
        with _unavailable_errors(), suppress(FileNotFoundError):
            await self._store.delete_async(key)

    async def delete_all(self, keys: Sequence[str]) -> None:
        """Remove objects, several concurrently."""
        slots = asyncio.Semaphore(MAX_CONCURRENT_DELETES)

        async def remove(key: str) -> None:
            async with slots:
                await self.delete(key)

        await asyncio.gather(*map(remove, keys))

    async def keys(self, prefix: str) -> AsyncIterator[list[str]]:
        """Pages of the keys that begin with `prefix`, which ends in `/`, including those of unfinished writes."""
        with _unavailable_errors():
            async for chunk in self._store.list(prefix, chunk_size=LIST_PAGE_SIZE):
                yield [entry["path"] for entry in chunk]
        if self._folder is not None:
            staged = await asyncio.to_thread(_staged, self._folder, prefix)
            if staged:
                yield staged

    async def ping(self) -> bool:
        """Whether the folder exists, or the store answers a request for a key, which need not exist."""
        try:
            async with asyncio.timeout(PING_SECONDS):
                if self._folder is not None:
                    return await asyncio.to_thread(self._folder.is_dir)
                await self._store.head_async("ping")
        except FileNotFoundError:
            return True
        except Exception:
            return False
        return True


@contextmanager
def _unavailable_errors() -> Iterator[None]:
    from obstore.exceptions import GenericError  # with the store, see `Storage._store`

    try:
        yield
    except GenericError as error:  # further lines are debugging output of obstore
        raise StorageUnavailable(str(error).partition("\n")[0]) from None


def _ranges(begin: int, end: int) -> Iterator[tuple[int, int]]:
    for at in range(begin, end, READ_RANGE_BYTES):
        yield at, min(at + READ_RANGE_BYTES, end)


def _make_folder(folder: Path) -> None:
    """Create the folder and write to it once: a folder that is read-only would refuse every upload."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise SettingsError(
            f"TUNEGATE_STORAGE_URL names the folder {folder}, which cannot be written: {error.strerror}. "
            "Give its user the right to write, or name another folder."
        ) from None


def _remote(url: str) -> "ObjectStore":
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    try:
        if urlsplit(url).scheme not in SCHEMES:
            raise ValueError("it begins with none of file://, s3://, gs:// and az://")
        return from_url(
            url, retry_config={"max_retries": MAX_RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)}
        )
    except (BaseError, ValueError) as error:
        why = str(error).partition("\n")[0]
        raise SettingsError(
            f"TUNEGATE_STORAGE_URL cannot be used: {why}. Set it to file:///path, s3://bucket/prefix, gs://bucket or "
            "az://container, with the variables of that store (AWS_…, GOOGLE_…, AZURE_…)."
        ) from None


def _remove_staged(path: Path) -> None:
    """Remove `KEY#1`, `KEY#2`, …, which obstore's local store writes first and renames at the end."""
    number = 1
    while (staged := path.with_name(f"{path.name}#{number}")).exists():
        staged.unlink(missing_ok=True)
        number += 1


def _staged(folder: Path, prefix: str) -> list[str]:
    """The keys of writes that a killed process left unfinished: obstore lists finished objects only."""
    found = {path.with_name(path.name.partition("#")[0]) for path in (folder / prefix).glob("*#*")}
    return sorted(str(path.relative_to(folder)) for path in found)
