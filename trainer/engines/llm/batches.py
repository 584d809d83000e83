"""Which rows each step takes, as a function of seed and step alone, and how they become tensors."""

from collections.abc import Iterator
from collections.abc import Sequence as Many

import numpy as np
import torch

from ...examples import BadRow
from ...plan import Plan
from ..port import Rows
from .messages import NotRendered
from .sequences import IGNORED, Encoded, Encoder, Sequence


class Batches:
    """The rows of a file, encoded when they are asked for."""

    def __init__(self, rows: Rows, encoder: Encoder, plan: Plan, seed: int) -> None:
        self._rows, self._encoder, self._plan, self._seed = rows, encoder, plan, seed

    def of_step(self, step: int) -> list[Encoded]:
        """The rows of a step, from 1: each epoch takes every row once, in an order of its own."""
        epoch, place = divmod(step - 1, self._plan.steps_per_epoch)
        first = place * self._plan.batch_size
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._rows))
        return [self._encoded(int(row)) for row in order[first : first + self._plan.batch_size]]

    def sample(self, step: int) -> list[Encoded]:
        """As many rows as a step has, drawn for measuring at that step."""
        drawn = np.random.default_rng([self._seed, step, 1]).permutation(len(self._rows))[: self._plan.batch_size]
        return [self._encoded(int(row)) for row in drawn]

    def all(self) -> Iterator[list[Encoded]]:
        """All rows, in groups of a step's size."""
        for first in range(0, len(self._rows), self._plan.batch_size):
            last = min(first + self._plan.batch_size, len(self._rows))
            yield [self._encoded(row) for row in range(first, last)]

    def _encoded(self, row: int) -> Encoded:
        return encode_row(self._rows, row, self._encoder)


def encode_row(rows: Rows, row: int, encoder: Encoder) -> Encoded:
    """Read and encode one row. Raises BadRow, which names the line, where it cannot be rendered."""
    try:
        return encoder.encode(rows[row])
    except NotRendered as error:
        raise BadRow(rows.line(row), str(error)) from None


def padded(sequences: Many[Sequence], pad: int, device: torch.device) -> dict[str, torch.Tensor]:
    """`input_ids`, `attention_mask` and `labels`, padded on the right to the longest: tensors [sequences, tokens]."""
    longest = max(len(sequence.tokens) for sequence in sequences)
    rows = [(each.tokens, each.labels, longest - len(each.tokens)) for each in sequences]
    return {
        "input_ids": torch.tensor([tokens + [pad] * gap for tokens, _, gap in rows], device=device),
        "attention_mask": torch.tensor([[1] * len(tokens) + [0] * gap for tokens, _, gap in rows], device=device),
        "labels": torch.tensor([labels + [IGNORED] * gap for _, labels, gap in rows], device=device),
    }


def groups(units: Many[tuple[Sequence, ...]], max_tokens: int) -> list[list[tuple[Sequence, ...]]]:
    """Units of similar length together, at most `max_tokens` tokens with the padding, at least one unit each."""
    longest_first = sorted(units, key=_length, reverse=True)
    made: list[list[tuple[Sequence, ...]]] = []
    for unit in longest_first:
        if made and _length(made[-1][0]) * (len(made[-1]) + 1) * len(unit) <= max_tokens:
            made[-1].append(unit)
        else:
            made.append([unit])
    return made


def _length(unit: tuple[Sequence, ...]) -> int:
    return max(len(sequence.tokens) for sequence in unit)
