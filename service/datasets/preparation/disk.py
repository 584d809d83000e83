"""Temporary files of a preparation, which have a maximum size together: a row may grow, and each change is recorded."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Self, cast

from service.datasets.preparation.refusals import PreparationRefused


class Disk:
    """The temporary files of one preparation. Writing over `max_bytes` in all open ones is refused."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0

    def file(self) -> BinaryIO:
        """An empty file that is deleted when it is closed. Its bytes count while it is open."""
        return cast(BinaryIO, _File(self))

    def occupy(self, size_bytes: int) -> None:
        """Count bytes before they are written. Raises `PreparationRefused`."""
        self._bytes += size_bytes
        if self._bytes > self._max_bytes:
            raise PreparationRefused(
                f"The results and the temporary files of the preparation have over {self._max_bytes:,} bytes, the "
                "limit for a file of this size (TUNEGATE_DATASET_DISK_BYTES, and four times the file). Split the file, "
                "or add less to each row.",
                code="preparation_limit_exceeded",
                param="file",
            )

    def release(self, size_bytes: int) -> None:
        """The bytes of a file that was closed."""
        self._bytes -= size_bytes


class _File:
    """A temporary file whose writes count."""

    def __init__(self, disk: Disk) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
        self._disk = disk
        self._written_bytes = 0

    def write(self, data: bytes) -> int:
        self._disk.occupy(len(data))
        self._written_bytes += len(data)
        return self._file.write(data)

    def close(self) -> None:
        if not self._file.closed:
            self._file.close()
            self._disk.release(self._written_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
