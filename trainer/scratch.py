"""A training process's temporary folder, and the removal of those that killed processes left behind."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK = "lock"


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """An empty folder that is removed at the end.

    Every process locks its own, and the lock ends with the process: so each one that starts removes the folders that
    nobody has locked. `parent` is where they lie; default: a folder of this user's among the temporary files.
    """
    parent = parent or Path(tempfile.gettempdir()) / f"trainer-{os.getuid()}"
    parent.mkdir(mode=0o700, exist_ok=True)
    if parent.stat().st_uid != os.getuid():
        raise OSError(f"{parent} belongs to another user: remove it, or set TMPDIR")
    with (parent / _LOCK).open("wb") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        for left in parent.iterdir():
            if left.is_dir() and not _is_locked(left):
                shutil.rmtree(left, ignore_errors=True)
        own = Path(tempfile.mkdtemp(dir=parent))
        lock = (own / _LOCK).open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        folder = own / "files"
        folder.mkdir()
        yield folder
    finally:
        lock.close()
        shutil.rmtree(own, ignore_errors=True)


def _is_locked(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
