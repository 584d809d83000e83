"""Chooses the examples that are held back for validation: the requested number, the same for the same seed.

Examples that differ only in case, white space and form of characters stay on one side. So do examples with the same
prompt, which would leak their answers, unless fewer than half of the prompts differ (then prompts do not identify
examples). Where the answers are labels, each label is held back in proportion.
"""

from __future__ import annotations

import hashlib
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from service.datasets.parsing.formats import Example, read_example, same_format
from service.datasets.preparation.options import Split
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.preparation.scratch import NumberedRow
from service.datasets.report_schema import Format

_MIN_LABELLED_ROWS = 20
_MAX_LABEL_CHARS = 40
_MAX_LABELS = 1_000
_ROWS_PER_LABEL = 3
"""Answers are labels if all are short and each has three rows or more on average, as in the checks."""


class ValidationChoice(NamedTuple):
    """The positions of the rows for validation, and notes on how the split differs from the request."""

    validation: frozenset[int]
    notes: list[str]


def choose_validation(rows: Iterable[NumberedRow], format: Format | None, split: Split) -> ValidationChoice:
    """Chooses rows for validation. Memory: three 64-bit numbers for each example.

    Raises `PreparationRefused` if no example would be left to train on.
    """
    keys = _Keys()
    for line, row in rows:
        readable = format is not None and same_format(row, format)
        keys.add(read_example(line, row, format) if readable and format is not None else Example(line, row))
    requested = _validation_count(split, keys.count)
    chosen = _choose(keys.groups(), keys.strata(), requested, split.seed)
    notes = []
    if len(chosen) < requested:
        notes.append(
            f"Validation has {len(chosen):,} examples instead of {requested:,}: the same examples stay together."
        )
    return ValidationChoice(frozenset(chosen), notes)


class _Keys:
    """Keys that identify examples and prompts, and the answers while they can still be labels."""

    def __init__(self) -> None:
        self.count = 0
        self._examples = array("Q")
        self._prompts = array("Q")
        self._answers = array("Q")
        self._labels: set[int] = set()
        self._are_labels = True

    def add(self, example: Example) -> None:
        texts = [text for piece in example.pieces for text in (piece.role, piece.text)]
        whole = _key(texts or [repr(example.row)])
        prompt = [piece for piece in example.pieces if not piece.trained and piece.text]
        prompt_texts = [text for piece in prompt for text in (piece.role, piece.text)]
        self._examples.append(whole)
        self._prompts.append(_key(prompt_texts) if prompt_texts and example.answer and not example.images else whole)
        label = _key([example.answer])
        self._answers.append(label)
        if len(self._labels) <= _MAX_LABELS:
            self._labels.add(label)
        self._are_labels = self._are_labels and 0 < len(example.answer) <= _MAX_LABEL_CHARS
        self.count += 1

    def groups(self) -> Sequence[int]:
        """One number for each row; rows with the same number must stay on one side."""
        return self._prompts if len(set(self._prompts)) * 2 >= len(set(self._examples)) else self._examples

    def strata(self) -> Sequence[int] | None:
        """The label of each row, or None if the answers are not labels."""
        few = len(self._labels) <= _MAX_LABELS and len(self._labels) * _ROWS_PER_LABEL <= self.count
        return self._answers if self._are_labels and few and self.count >= _MIN_LABELLED_ROWS else None


def _validation_count(split: Split, count: int) -> int:
    if split.validation_examples is not None:
        requested, param = split.validation_examples, "split.validation_examples"
    else:
        requested, param = max(1, int((split.validation_share or 0.0) * count + 0.5)), "split.validation_share"
    if requested >= count:
        raise PreparationRefused(
            f"{requested:,} validation examples of {count:,} leave nothing to train on; hold back fewer.",
            code="split_too_large",
            param=param,
        )
    return requested


def _choose(groups: Sequence[int], strata: Sequence[int] | None, requested: int, seed: int) -> set[int]:
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    order = sorted(members, key=lambda group: _lottery_key(group, seed))
    chosen: set[int] = set()
    if strata is not None:
        by_label: dict[int, list[int]] = {}
        for group in order:
            by_label.setdefault(strata[members[group][0]], []).append(group)
        sizes = Counter({label: sum(len(members[group]) for group in held) for label, held in by_label.items()})
        for label, share in _shares(sizes, requested).items():
            held = by_label[label][:-1]  # one group of each label is left to train on
            _fill(chosen, held, members, len(chosen) + share)
    _fill(chosen, order, members, requested)
    return chosen


def _fill(chosen: set[int], order: Iterable[int], members: dict[int, list[int]], size: int) -> None:
    """Adds whole groups in the drawn order while they fit."""
    for group in order:
        rows = members[group]
        if rows[0] not in chosen and len(chosen) + len(rows) <= size:
            chosen.update(rows)


def _shares(sizes: Counter[int], requested: int) -> dict[int, int]:
    """The number of rows of each label, in proportion, `requested` in all (largest remainders, then larger labels)."""
    total = sizes.total()
    shares = {label: size * requested // total for label, size in sizes.items()}
    rest = sorted(sizes, key=lambda label: (-(sizes[label] * requested % total), -sizes[label], label))
    for label in rest[: requested - sum(shares.values())]:
        shares[label] += 1
    return shares


def _lottery_key(group: int, seed: int) -> bytes:
    """The place of a group in the draw. It depends on its content and the seed alone, so added rows move no others."""
    return hashlib.blake2b(group.to_bytes(8, "big"), digest_size=8, key=seed.to_bytes(8, "big")).digest()


def _key(texts: Iterable[str]) -> int:
    """A 64-bit hash of texts that ignores case, white space and compatible forms of characters (NFKC)."""
    plain = "\1".join(" ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in texts)
    return int.from_bytes(hashlib.blake2b(plain.encode("utf-8", "replace"), digest_size=8).digest(), "big")
