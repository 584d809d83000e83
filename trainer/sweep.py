"""Removes what a killed server left behind, when the next one starts."""

import shutil
import time

from .recorder import SNAPSHOT_PREFIX
from .store import Store


def sweep(store: Store) -> None:
    """Remove expired files, half-written ones, files without a row, and snapshots of jobs that have ended."""
    with store.write() as db:
        db.execute(
            "DELETE FROM files WHERE expires_at < ? AND id NOT IN (SELECT f FROM (SELECT training_file AS f FROM jobs"
            " WHERE finished_at IS NULL UNION SELECT validation_file FROM jobs WHERE finished_at IS NULL)"
            " WHERE f IS NOT NULL)",
            (int(time.time()),),
        )
    known = {row["id"] for row in store.rows("SELECT id FROM files")}
    for path in store.files_dir.iterdir():
        if path.name not in known:
            path.unlink()
    ended = {row["id"] for row in store.rows("SELECT id FROM jobs WHERE finished_at IS NOT NULL")}
    for path in [*store.weights_dir.rglob("*.part")]:
        shutil.rmtree(path)
    for path in [*store.weights_dir.rglob(f"{SNAPSHOT_PREFIX}-*")]:
        if path.parent.name in ended:
            shutil.rmtree(path)
