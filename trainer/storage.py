"""The object store of uploaded files, weights and results: a local folder, S3, GCS or Azure, by a URL (obstore).

An object is written once, complete or not at all, and never changed. A folder is a prefix of keys; it counts as written
once a row names it, which its writer sees to.
"""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError, GenericError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, ObjectStore, from_url

PART_BYTES = 5 * 1024 * 1024
"""The smallest part that S3 accepts; memory holds three of them for an upload."""
_READ_BYTES = 1024 * 1024
_MAX_RETRIES = 5
_STAGED = re.compile(r"#\d+$")
"""The end of a local file's name while obstore writes it."""


class StorageUnavailable(OSError):
    """The store does not answer or refuses, after several attempts. A later call may succeed."""


class Storage:
    """Objects by key. Each method raises StorageUnavailable when the store fails for `retry_seconds`.

    Raises ValueError for a URL of no known store.
    """

    def __init__(self, url: str, *, retry_seconds: float = 20.0) -> None:
        self._folder = Path(unquote(urlsplit(url).path)) if url.startswith("file://") else None
        self._store: ObjectStore
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._store = LocalStore(self._folder, mkdir=True)
        else:
            retries = {"max_retries": _MAX_RETRIES, "retry_timeout": timedelta(seconds=retry_seconds)}
            try:
                self._store = from_url(url, retry_config=retries)  # type: ignore[call-overload]
            except (BaseError, ValueError) as error:
                raise ValueError(f"TRAINER_STORAGE_URL is {url!r}: {_first_line(error)}") from None

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Write a stream in parts. When `chunks` raises, nothing is left behind."""
        with _unavailable():
            await self._store.put_async(key, chunks, use_multipart=True, chunk_size=PART_BYTES, max_concurrency=2)

    def put(self, key: str, content: bytes | Path) -> None:
        """Write some bytes, or a file of any size."""
        with _unavailable():
            self._store.put(key, content, use_multipart=isinstance(content, Path), chunk_size=PART_BYTES)

    def put_folder(self, prefix: str, folder: Path) -> None:
        """Write all files of a folder under a prefix."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path)

    def size_bytes(self, key: str) -> int:
        """The length of an object. Raises FileNotFoundError."""
        with _unavailable():
            return self._store.head(key)["size"]

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """An object in chunks of about 1 MB. Raises FileNotFoundError."""
        with _unavailable():
            found = await self._store.get_async(key)
            async for chunk in found.stream(min_chunk_size=_READ_BYTES):
                yield bytes(chunk)

    def local(self, key: str) -> Path | None:
        """Where an object or a folder lies on this disk if the store is a local folder, to read it without a copy."""
        return None if self._folder is None else self._folder / key

    def fetch(self, key: str, path: Path) -> None:
        """Copy an object to a file. Raises FileNotFoundError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with _unavailable(), path.open("wb") as out:
            for chunk in self._store.get(key).stream(min_chunk_size=_READ_BYTES):
                out.write(chunk)

    def fetch_folder(self, prefix: str, folder: Path) -> None:
        """Copy all objects under a prefix into a folder. Raises FileNotFoundError when there are none."""
        keys = self.keys(f"{prefix}/")
        if not keys:
            raise FileNotFoundError(prefix)
        for key in keys:
            self.fetch(key, folder / key.removeprefix(f"{prefix}/"))

    def keys(self, prefix: str) -> list[str]:
        """The keys that begin with a prefix, which ends in `/`."""
        with _unavailable():
            return [entry["path"] for page in self._store.list(prefix) for entry in page]

    def delete(self, *keys: str) -> None:
        """Remove objects. A key without an object is no error."""
        for key in keys:
            with _unavailable(), suppress(FileNotFoundError):
                self._store.delete(key)

    def remove_unfinished(self) -> None:
        """Remove what killed processes left while writing, and empty folders, from a local folder.

        Not while another process writes.
        """
        if self._folder is None:
            return
        for path in sorted(self._folder.rglob("*"), reverse=True):
            if path.is_dir():
                with suppress(OSError):
                    path.rmdir()
            elif _STAGED.search(path.name):
                path.unlink(missing_ok=True)


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except (GenericError, PermissionDeniedError, UnauthenticatedError) as error:
        raise StorageUnavailable(f"The object store is unavailable: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    """What an error says without the debugging output of obstore, which follows in further lines."""
    return str(error).splitlines()[0]
