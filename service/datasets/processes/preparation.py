"""Prepares datasets outside the API: a stored object for a worker, or a file on this disk.

Results are written to temporary files first and stored as a whole at the end, so that a crash leaves no partial object.
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from service import fault_points
from service.catalogue.base_models import BaseModel, Catalogue
from service.catalogue.counting import facts
from service.catalogue.lookup import known_model
from service.datasets.preparation.disk import Disk
from service.datasets.preparation.options import Options, Target
from service.datasets.preparation.outcome import Prepared
from service.datasets.preparation.readers.reading import Chunks
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.preparation.run import Outputs, prepare
from service.datasets.preparation.scratch import Scratch
from service.datasets.processes.messages import Preparation, PrepareRequest, Refusal
from service.storage import Storage, Stored

READ_BYTES = 1 << 20


def prepare_stored(
    storage: Storage, catalogue: Catalogue, request: PrepareRequest, progress: Callable[[int], None]
) -> Preparation | Refusal:
    """Prepares a stored object. `progress` is called with the bytes read in all passes over the input."""
    fault_points.point("prepare.working")
    model = known_model(catalogue, request.model)
    done_bytes = 0

    def chunks() -> Iterator[bytes]:
        nonlocal done_bytes
        for chunk in storage.read_sync(request.storage_key):
            done_bytes += len(chunk)
            progress(done_bytes)
            yield chunk

    disk = Disk(request.disk_bytes)
    with disk.file() as training, disk.file() as validation, disk.file() as changes:
        try:
            outcome = prepare_to(
                Outputs(training, validation, changes),
                chunks,
                filename=request.filename,
                options=request.options,
                model=model,
                scratch=disk.file,
                tick=lambda: progress(done_bytes),
            )
        except PreparationRefused as error:
            return Refusal(code=error.code, message=error.message, param=error.param)
        except FileNotFoundError:
            return Refusal(code="file_not_found", message="The input file was deleted meanwhile.", param="file")
        return Preparation(
            outcome=outcome,
            training=_stored(storage, request.training_key, training),
            validation=_stored(storage, request.validation_key, validation) if request.options.split else None,
            changes=_stored(storage, request.changes_key, changes),
        )


def prepare_to(
    outputs: Outputs,
    chunks: Chunks,
    *,
    filename: str,
    options: Options,
    model: BaseModel,
    scratch: Scratch,
    tick: Callable[[], None],
) -> Prepared:
    """Prepares bytes for a model. Tables become chat, or completions where the model takes nothing else.

    `tick` is called every few thousand rows. Raises `PreparationRefused`.
    """
    target: Target = "completion" if model.formats == ("completion",) else "chat"
    return prepare(
        chunks,
        filename=filename,
        options=options,
        model=facts(model),
        target=target,
        outputs=outputs,
        scratch=scratch,
        tick=tick,
    )


def _stored(storage: Storage, key: str, file: BinaryIO) -> Stored:
    digest = hashlib.sha256()
    file.seek(0)
    while piece := file.read(READ_BYTES):
        digest.update(piece)
    size_bytes = file.tell()
    file.seek(0)
    storage.put_sync(key, file)
    return Stored(size_bytes, digest.hexdigest())
