"""Chooses the examples that are held back for validation: the requested number, the same for the same seed.

Examples that differ only in case, white space and form of characters stay on one side. So do examples with the same
prompt, which would leak their answers, unless fewer than half of the prompts differ (then prompts do not identify
examples); and near duplicates, by the sketches of the report, unless too few examples could be held back then. Where
the answers are labels, each label is held back in proportion.
"""

from __future__ import annotations

import hashlib
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from service.datasets.parsing.formats import Example, read_example, same_format
from service.datasets.preparation.options import Split
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.preparation.scratch import NumberedRow
from service.datasets.report_schema import Format

_MIN_LABELLED_ROWS = 20
_MAX_LABEL_CHARS = 40
_MAX_LABELS = 1_000
_BATCH = 256
MAX_SKETCHED = 200_000
"""The examples among which near duplicates are searched, as in the report; each takes 200 bytes."""

_ROWS_PER_LABEL = 3
"""Answers are labels if all are short and each has three rows or more on average, as in the checks."""


class ValidationChoice(NamedTuple):
    """The positions of the rows for validation, and notes on how the split differs from the request."""

    validation: frozenset[int]
    notes: list[str]


def choose_validation(rows: Iterable[NumberedRow], format: Format | None, split: Split) -> ValidationChoice:
    """Chooses rows for validation. Memory: five 64-bit numbers for each example, and the sketches of the first 200,000.

    Raises `PreparationRefused` if no example would be left to train on.
    """
    keys, sketched = _Keys(), _Sketched()
    for line, row in rows:
        readable = format is not None and same_format(row, format)
        example = read_example(line, row, format) if readable and format is not None else Example(line, row)
        sketched.add(keys.count, example)
        keys.add(example)
    requested = _validation_count(split, keys.count)
    plain, strata = keys.groups(), keys.strata()
    groups = sketched.joined(plain)
    chosen = _choose(groups, strata, requested, split.seed)
    notes = list(sketched.notes())
    if len(chosen) < requested and groups is not plain:
        without_near = _choose(plain, strata, requested, split.seed)
        if len(without_near) > len(chosen):
            groups, chosen = plain, without_near
            notes = [
                "Near duplicates may be on both sides: too few examples are different enough to keep them together."
            ]
    if len(chosen) < requested:
        notes.insert(
            0, f"Validation has {len(chosen):,} examples instead of {requested:,}: the same examples stay together."
        )
    return ValidationChoice(frozenset(chosen), [*notes, *_note_on_groups(groups)])


def _note_on_groups(groups: Sequence[int]) -> Iterator[str]:
    sizes = [size for size in Counter(groups).values() if size > 1]
    if sizes:
        yield (
            f"{sum(sizes):,} examples in {len(sizes):,} group{'' if len(sizes) == 1 else 's'} with the same prompt or "
            "nearly the same words: each group is on one side of the split."
        )


class _Sketched:
    """The sketches of the first examples that have texts and no images, whose texts do not identify them."""

    def __init__(self) -> None:
        self._rows = array("I")
        self._sketches = bytearray()
        self._batch: list[Example] = []
        self._more = False

    def add(self, row: int, example: Example) -> None:
        """Add the example at this position."""
        if row >= MAX_SKETCHED:
            self._more = True
        elif example.texts and not example.images:
            self._rows.append(row)
            self._batch.append(example)
            if len(self._batch) == _BATCH:
                self._sketch()

    def joined(self, groups: Sequence[int]) -> Sequence[int]:
        """The groups, with those that contain near duplicates of each other joined; `groups` itself if none are.

        A joined group has the smallest number of its parts, so that it does not depend on the order of the rows.
        """
        from service.datasets.duplicates.near import near_pairs  # numpy is slow to import

        self._sketch()
        parents: dict[int, int] = {}
        for row, other in near_pairs(self._sketches):
            one, two = (_root(parents, groups[self._rows[place]]) for place in (row, other))
            if one != two:
                parents[max(one, two)] = min(one, two)
        return array("Q", (_root(parents, group) for group in groups)) if parents else groups

    def notes(self) -> Iterator[str]:
        """Says that only the first examples were compared, if there are more."""
        if self._more:
            yield f"Near duplicates were searched only among the first {MAX_SKETCHED:,} examples."

    def _sketch(self) -> None:
        from service.datasets.duplicates.sketches import sketches

        self._sketches += sketches(self._batch)
        self._batch.clear()


def _root(parents: dict[int, int], group: int) -> int:
    while group in parents:
        group = parents[group]
    return group


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
