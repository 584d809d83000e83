"""The default engine: base weights are trained once on the primer; every other model is a difference to them."""

from pathlib import Path

import numpy as np

from ..steps import Exchange, Message
from .answer import ByteModel
from .learn import RATE, ByteLearner, Preference
from .primer import lessons
from .weights import Table, apply, read, zeros

_PRIMER_ROUNDS = 3
_PRIMER_RATE = 0.4
_BASE_FILE = "base-1.npz"


class ByteEngine:
    """See `trainer.engines.steps.Engine`. `folder` holds the cached base weights."""

    name = "tiny-engine"

    def __init__(self, folder: Path) -> None:
        self._file = folder / _BASE_FILE
        self._base: Table | None = None

    def prepare(self) -> None:
        if not self._file.exists():
            _train_on_primer().save(self._file)
        self._table()

    def learner(
        self,
        start: Path | None,
        *,
        reference: Path | None,
        fresh_optimizer: bool,
        rate_multiplier: float,
        beta: float | None,
    ) -> ByteLearner:
        base = self._table()
        preference = None
        if beta is not None:
            preference = Preference(beta, base if reference is None else apply(base, read(reference)))
        return ByteLearner(
            base,
            read(start) if start is not None else None,
            fresh_optimizer=fresh_optimizer,
            rate=RATE * rate_multiplier,
            preference=preference,
        )

    def load(self, weights: Path | None) -> ByteModel:
        return ByteModel(self._table(), read(weights) if weights is not None else None)

    def _table(self) -> Table:
        if self._base is None:
            self._base = apply(zeros(), read(self._file))
        return self._base


def _train_on_primer() -> ByteLearner:
    learner = ByteLearner(zeros(), None, fresh_optimizer=True, rate=_PRIMER_RATE, preference=None)
    pairs = [Exchange((Message("user", question),), answer) for question, answer in lessons()]
    for turn in range(_PRIMER_ROUNDS):
        for index in np.random.default_rng(turn).permutation(len(pairs)):
            learner.step([pairs[index]])
    return learner
