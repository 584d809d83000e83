"""The default engine: base weights are trained once on the primer; every other model is a difference to them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..port import Base, DataFacts, JobSettings, Recorder, Refused, Rows, Work
from .answer import ByteModel
from .bases import BASES
from .exchanges import Exchange, Text, count_row
from .learn import ByteLearner
from .primer import lessons
from .training import MODEL_FILE, Training
from .weights import Table, apply, read, write, zeros

_PRIMER_ROUNDS = 3
_PRIMER_RATE = 0.4
_BASE_FILE = "base-1.npz"


class ByteEngine:
    """See `trainer.engines.port.Engine`. `folder` has the cached base weights."""

    name = "tiny-engine"

    def __init__(self, folder: Path) -> None:
        self._file = folder / _BASE_FILE
        self._base: Table | None = None

    def prepare(self) -> None:
        self._table()

    def bases(self) -> Sequence[Base]:
        return BASES

    def check(self, settings: JobSettings) -> None:
        if settings.adapter is not None:
            raise Refused(
                "adapter",
                "The byte model has no adapters: leave `adapter` out, or start the trainer with an engine that has them"
                " (--engine transformers).",
                code="unsupported_adapter",
            )

    def validate(self, settings: JobSettings, rows: Rows) -> DataFacts:
        return DataFacts(sum(count_row(rows[index]) for index in range(len(rows))))

    def train(self, work: Work, recorder: Recorder) -> None:
        Training(work, recorder, self._table()).run()

    def load(self, base: str, weights: Path | None) -> ByteModel:
        return ByteModel(self._table(), read(weights / MODEL_FILE) if weights is not None else None)

    def _table(self) -> Table:
        if self._base is None:
            if not self._file.exists():
                write(self._file, _train_on_primer().save()[0])
            self._base = apply(zeros(), read(self._file))
        return self._base


def _train_on_primer() -> ByteLearner:
    learner = ByteLearner(zeros(), None, energy=None, rate=_PRIMER_RATE, preference=None)
    pairs = [Exchange((Text("user", question),), answer) for question, answer in lessons()]
    for turn in range(_PRIMER_ROUNDS):
        for index in np.random.default_rng(turn).permutation(len(pairs)):
            learner.step([pairs[index]])
    return learner
