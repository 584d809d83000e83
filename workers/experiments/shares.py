"""Makes the file with a share of the training data: streamed, and drawn by the seed, so that shares are nested.

Every line has a number from the seed and its own bytes, and a share has the lines with the smallest numbers. So equal
lines are in or out together, and a share does not depend on the order of the file. Lines that are nearly equal, or
belong together, are drawn independently of each other.

The object is announced before it is written; the file, its report and the arms that train on it are one fenced
transaction.
"""

import hashlib
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import PurePath

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.database import leases
from service.database.leases import Claim
from service.database.tables import Experiment, ExperimentArm, File
from service.datasets.files.actions import NewFile, create_file, record_pending_upload
from service.datasets.files.queries import FINE_TUNE
from service.experiments.shares import share_size
from service.ids import new_id
from service.limits.enforcement import check_storage
from workers.context import Context
from workers.runs.threads import in_thread

_BLANK = b" \t\r\n"


async def make_share(
    ctx: Context, claimed: Claim[Experiment], training: File, arms: Sequence[int], *, share: float, seed: int
) -> None:
    """Make the file of a share and give it to these arms.

    Raises `LeaseLost`, `QuotaExceeded` if it does not fit into the project's storage, and `FileNotFoundError`.
    """
    row = claimed.row
    numbers = Numbers(seed)
    async for _ in _fed(ctx, training, numbers.feed):
        pass
    threshold = await in_thread(numbers.threshold, share)
    key = f"{row.project_id}/{new_id('object-')}"
    async with ctx.db.worker() as session:
        await record_pending_upload(session, row.project_id, key)
    fault_points.point("experiment.share_announced")
    stored = await ctx.storage.put(key, _fed(ctx, training, Filter(seed, threshold).feed))
    fault_points.point("experiment.share_stored")
    async with ctx.db.worker() as session:
        await check_storage(session, row.project_id, adding_bytes=stored.size_bytes)
        name = f"{PurePath(training.filename).stem}.share-{share:g}.seed-{seed}.jsonl"
        file = await create_file(
            session,
            project_id=row.project_id,
            storage_key=key,
            new_file=NewFile(filename=name, purpose=FINE_TUNE, expires_after_seconds=None),
            stored=stored,
            model=ctx.catalogue.default,
        )
        await _give_to_arms(session, row.id, arms, file.id)
        await leases.write(session, claimed, {"failures": 0})
    fault_points.point("experiment.share_recorded")


async def _give_to_arms(session: AsyncSession, experiment_id: str, arms: Sequence[int], file_id: str) -> None:
    table = ExperimentArm
    await session.execute(
        update(table)
        .where(table.experiment_id == experiment_id, table.arm.in_(arms))
        .values(training_file_id=file_id)
        .execution_options(synchronize_session=False)
    )


async def _fed(ctx: Context, file: File, feed: Callable[[bytes], bytes]) -> AsyncIterator[bytes]:
    """What `feed` makes of each chunk of the file, and of a last line without an end."""
    async for chunk in ctx.storage.read(file.storage_key):
        if made := await in_thread(feed, chunk):
            yield made
    if made := await in_thread(feed, b"\n"):
        yield made


class _Lines:
    """Cuts chunks into lines; each with the number by which it is drawn."""

    def __init__(self, seed: int) -> None:
        self._key = seed.to_bytes(8, "big")
        self._rest = b""

    def numbered(self, chunk: bytes) -> list[tuple[int, bytes]]:
        """The lines that end in this chunk and are not blank, without their ends."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        return [(self._number(line), line) for each in whole if (line := each.strip(_BLANK))]

    def _number(self, line: bytes) -> int:
        return int.from_bytes(hashlib.blake2b(line, digest_size=8, key=self._key).digest(), "big")


class Numbers:
    """The numbers of all lines, eight bytes each."""

    def __init__(self, seed: int) -> None:
        self._lines = _Lines(seed)
        self._numbers = array("Q")

    def feed(self, chunk: bytes) -> bytes:
        """Add the lines of a chunk; makes nothing of it."""
        self._numbers.extend(number for number, _ in self._lines.numbered(chunk))
        return b""

    def threshold(self, share: float) -> int:
        """The largest number within the share."""
        import numpy as np  # takes a tenth of a second to import

        place = share_size(len(self._numbers), share) - 1
        return int(np.partition(np.frombuffer(self._numbers, dtype=np.uint64), place)[place])


class Filter:
    """Keeps the lines of a share, in the order of the file."""

    def __init__(self, seed: int, threshold: int) -> None:
        self._lines = _Lines(seed)
        self._threshold = threshold

    def feed(self, chunk: bytes) -> bytes:
        """The lines of the chunk that belong to the share."""
        return b"".join(line + b"\n" for number, line in self._lines.numbered(chunk) if number <= self._threshold)
