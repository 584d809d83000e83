"""Gradient steps: cross-entropy on answer bytes, Adagrad with one step size a row.

A preference pair adds the loss of Rafailov et al. 2023 (DPO), -log sigmoid(beta * (margin - margin at the start)),
to the cross-entropy of the preferred answer, and takes its step first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .exchanges import Exchange
from .features import END, ROWS, WIDTH, Rows, clean, question_of, rows
from .weights import Delta, Table, apply, difference, put

RATE = 1.0
"""Step size at a learning rate multiplier of 1."""
MAX_ANSWER_BYTES = 8_192
"""Longer answers are truncated."""
_POSITIONS = 2_048
"""Bytes whose gradients are held at once; a larger batch is processed in chunks of this size."""

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Figures:
    """A mean over the answer bytes of a batch: loss in nats a byte, accuracy from 0 to 1."""

    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Preference:
    """How to learn from rejected answers: the weight of the margin, and the weights that it is measured against."""

    beta: float
    reference: Table


class ByteLearner:
    """Weights in training: `base` plus `start`, neither of which it changes.

    `energy` is the optimizer's state, the running sum of squared gradients of each row; None begins a new one.
    """

    def __init__(
        self, base: Table, start: Delta | None, *, energy: Floats | None, rate: float, preference: Preference | None
    ) -> None:
        self._base, self._rate, self._preference = base, rate, preference
        self._table = base.copy() if start is None else apply(base, start)
        self._energy = np.zeros(ROWS + 1, dtype=np.float32) if energy is None else energy.copy()
        self._changed = np.zeros(ROWS, dtype=np.bool_)
        if start is not None:
            self._changed[:] = np.diff(start.starts) > 0

    def step(self, batch: Sequence[Exchange]) -> Figures:
        """Take one gradient step on the batch. Returns the figures of its answers before the step."""
        for exchange in batch:
            if exchange.rejected is not None and self._preference is not None:
                self._prefer(exchange, exchange.rejected, self._preference)
        found, targets = _encode([(e, e.answer) for e in batch])
        total_loss = total_right = 0.0
        for chunk in _chunks(len(targets)):
            chances, loss, right = self._forward(found[chunk], targets[chunk])
            total_loss, total_right = total_loss + loss, total_right + right
            chances[np.arange(len(chances)), targets[chunk]] -= 1
            self._descend(found[chunk], chances)
        return Figures(total_loss / len(targets), total_right / len(targets))

    def measure(self, batch: Sequence[Exchange]) -> Figures:
        """Return the figures of a batch without a gradient step."""
        loss = right = 0.0
        count = 0
        for exchange in batch:
            found, targets = _encode([(exchange, exchange.answer)])
            _, more_loss, more_right = self._forward(found, targets)
            loss, right, count = loss + more_loss, right + more_right, count + len(targets)
        return Figures(loss / count, right / count)

    def save(self) -> tuple[Delta, Floats]:
        """The weights and the optimizer's state, to be stored.

        The learner continues from exactly what it returned, which is rounded: so an interrupted training has the same
        figures as an uninterrupted one.
        """
        changed = np.flatnonzero(self._changed)
        delta = difference(self._table, self._base, changed)
        put(self._table, self._base, delta, changed)
        return delta, self._energy.copy()

    def _forward(self, found: Rows, targets: Bytes) -> tuple[Floats, float, float]:
        chances = softmax(votes(self._table, found))
        position = np.arange(len(targets))
        loss = float(-np.log(chances[position, targets] + 1e-9).sum())
        return chances, loss, float((chances.argmax(axis=1) == targets).sum())

    def _descend(self, found: Rows, slopes: Floats) -> None:
        flat = found.ravel()
        order = np.argsort(flat, kind="stable")
        order = order[: int(np.searchsorted(flat[order], ROWS))]
        if not len(order):
            return
        sorted_rows = flat[order]
        first = np.flatnonzero(np.r_[True, sorted_rows[1:] != sorted_rows[:-1]])
        touched = sorted_rows[first]
        gradient = np.add.reduceat(slopes[order // WIDTH], first, axis=0)
        self._energy[touched] += np.einsum("ij,ij->i", gradient, gradient)
        gradient *= (self._rate / np.sqrt(self._energy[touched] + 1e-3))[:, None]
        self._table[touched] -= gradient
        self._changed[touched] = True

    def _prefer(self, exchange: Exchange, rejected: str, how: Preference) -> None:
        preferred_rows, preferred_targets = _encode([(exchange, exchange.answer)])
        rejected_rows, rejected_targets = _encode([(exchange, rejected)])
        margin = self._margin(self._table, preferred_rows, preferred_targets, rejected_rows, rejected_targets)
        at_start = self._margin(how.reference, preferred_rows, preferred_targets, rejected_rows, rejected_targets)
        pull = how.beta / (1 + np.exp(np.clip(how.beta * (margin - at_start), -60, 60)))
        for found, targets, sign in (
            (preferred_rows, preferred_targets, pull),
            (rejected_rows, rejected_targets, -pull),
        ):
            slopes = softmax(votes(self._table, found))
            slopes[np.arange(len(targets)), targets] -= 1
            self._descend(found, slopes * np.float32(sign))

    @staticmethod
    def _margin(
        table: Table, preferred_rows: Rows, preferred_targets: Bytes, rejected_rows: Rows, rejected_targets: Bytes
    ) -> float:
        def log_chance(found: Rows, targets: Bytes) -> float:
            return float(np.log(softmax(votes(table, found))[np.arange(len(targets)), targets] + 1e-9).sum())

        return log_chance(preferred_rows, preferred_targets) - log_chance(rejected_rows, rejected_targets)


def votes(table: Table, found: Rows) -> Floats:
    """Sum the rows of each position: shape (positions, 256)."""
    total = table[found[:, 0]]
    for column in range(1, WIDTH):
        total += table[found[:, column]]
    return total


def softmax(scores: Floats) -> Floats:
    """Chances along the last axis."""
    powers: Floats = np.exp(scores - scores.max(axis=-1, keepdims=True))
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers


def _encode(pairs: Sequence[tuple[Exchange, str]]) -> tuple[Rows, Bytes]:
    found, targets = [], []
    for exchange, answer in pairs:
        answered = clean(answer)[:MAX_ANSWER_BYTES]
        found.append(rows(question_of(exchange.context), answered))
        targets.append(np.frombuffer(answered + bytes((END,)), dtype=np.uint8))
    return np.concatenate(found), np.concatenate(targets)


def _chunks(count: int) -> list[slice]:
    return [slice(first, min(first + _POSITIONS, count)) for first in range(0, count, _POSITIONS)]
