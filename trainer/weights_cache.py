"""Folders of weights on this disk: read where they lie in a local store, else copied into a bounded cache."""

import os
import shutil
import threading
from collections import OrderedDict
from pathlib import Path

from .storage import Storage


class WeightsCache:
    """Copies of folders of weights, the least recently used removed above `max_bytes`; safe between threads.

    Only complete copies are read. A copy is removed while a model that was loaded from it may still read it: on Linux
    an open or mapped file lives on until it is closed.
    """

    def __init__(self, storage: Storage, folder: Path, *, max_bytes: int) -> None:
        self._storage, self._folder, self._max_bytes = storage, folder, max_bytes
        self._lock = threading.Lock()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        shutil.rmtree(folder, ignore_errors=True)

    def folder(self, prefix: str) -> Path:
        """The folder of a prefix that a row names. Raises FileNotFoundError when it was removed."""
        local = self._storage.local(prefix)
        if local is not None:
            if not local.is_dir():
                raise FileNotFoundError(prefix)
            return local
        with self._lock:
            path = self._folder / prefix
            if prefix not in self._sizes:
                self._sizes[prefix] = self._copy(prefix, path)
            self._sizes.move_to_end(prefix)
            self._shrink()
            return path

    def _copy(self, prefix: str, path: Path) -> int:
        partial = path.with_name(f"{path.name}.part")
        shutil.rmtree(partial, ignore_errors=True)
        self._storage.fetch_folder(prefix, partial)
        os.replace(partial, path)
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

    def _shrink(self) -> None:
        while len(self._sizes) > 1 and sum(self._sizes.values()) > self._max_bytes:
            prefix, _ = self._sizes.popitem(last=False)
            shutil.rmtree(self._folder / prefix)
