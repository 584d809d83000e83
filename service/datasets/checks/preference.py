"""Checks of preference rows (direct preference optimisation).

Source of the rules: OpenAI's guide to direct preference optimization.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from service.datasets.checks.registry import Hit, LocatedHit, dataset_check, declare, example_check
from service.datasets.parsing.formats import Example, text_of

SECTION = "Preference"
_SIDES = ("preferred_output", "non_preferred_output")
_BIAS_RATIO = 1.5
_BIAS_SHARE = 0.7
_BIAS_MIN_EXAMPLES = 20


@example_check("preference_fields", "error", SECTION, formats=("preference",))
def preference_fields(row: dict[str, Any]) -> Iterator[Hit]:
    """A row lacks `input`, `preferred_output` or `non_preferred_output`."""
    for key in ("input", *_SIDES):
        if row.get(key) is None:
            yield Hit(f"/{key}", row, f"This preference row has no {key}; add it.")


@example_check("preference_input", "error", SECTION, formats=("preference",))
def preference_input(row: dict[str, Any]) -> Iterator[Hit]:
    """`input` is not an object whose `messages` is a non-empty list."""
    prompt = row.get("input")
    if prompt is None:
        return
    if not isinstance(prompt, dict):
        yield Hit("/input", prompt, 'input must be an object: {"messages": […]}.')
        return
    messages = prompt.get("messages")
    if not isinstance(messages, list) or not messages:
        yield Hit("/input/messages", messages, "input.messages must be a list with at least one message.")


@example_check("preference_output", "error", SECTION, formats=("preference",))
def preference_output(row: dict[str, Any]) -> Iterator[Hit]:
    """An output is not a list with exactly one message, which must be the assistant's."""
    for key in _SIDES:
        output = row.get(key)
        if output is None:
            continue
        if not isinstance(output, list) or len(output) != 1:
            yield Hit(f"/{key}", output, f"{key} must be a list with exactly one assistant message.")
        elif isinstance(output[0], dict) and output[0].get("role") not in (None, "assistant"):
            yield Hit(f"/{key}/0/role", output[0], f"The message of {key} must be the assistant's.")


@example_check("preference_identical", "error", SECTION, formats=("preference",))
def preference_identical(row: dict[str, Any]) -> Iterator[Hit]:
    """The two outputs are identical, so there is nothing to prefer."""
    preferred, other = row.get(_SIDES[0]), row.get(_SIDES[1])
    if preferred and preferred == other:
        yield Hit("/preferred_output", preferred, "Both outputs are identical; change one or remove the row.")


@example_check("preference_input_ends_with_answer", "error", SECTION, formats=("preference",))
def preference_input_ends_with_answer(row: dict[str, Any]) -> Iterator[Hit]:
    """The last message of the input is the assistant's. It must not be: the outputs are the assistant's next turn."""
    prompt = row.get("input")
    messages = prompt.get("messages") if isinstance(prompt, dict) else None
    if isinstance(messages, list) and messages:
        last = messages[-1]
        if isinstance(last, dict) and last.get("role") == "assistant":
            pointer = f"/input/messages/{len(messages) - 1}/role"
            yield Hit(pointer, last, "The input must not end with the assistant; end it with the message to answer.")


LENGTH_BIAS = declare(
    "preference_length_bias",
    "warning",
    SECTION,
    "In over 70 % of the rows the same side is at least 1.5 times as long as the other. The model may learn length "
    "instead of quality.",
    scope="dataset",
)


@dataset_check(formats=("preference",))
class LengthBias:
    """Counts the rows in which one side is much longer than the other, in characters."""

    def __init__(self) -> None:
        self._first_line = 0
        self._compared = 0
        self._longer = dict.fromkeys(_SIDES, 0)

    def add(self, examples: Sequence[Example]) -> None:
        """Counts such rows in a batch."""
        for example in examples:
            self._first_line = self._first_line or example.line
            preferred, other = (_length(example.row.get(side)) for side in _SIDES)
            if preferred and other:
                self._compared += 1
                self._longer[_SIDES[0]] += preferred >= other * _BIAS_RATIO
                self._longer[_SIDES[1]] += other >= preferred * _BIAS_RATIO

    def merge(self, later: LengthBias) -> None:
        """Adds the counts of later examples."""
        self._first_line = self._first_line or later._first_line
        self._compared += later._compared
        for side, count in later._longer.items():
            self._longer[side] += count

    def finish(self) -> Iterable[LocatedHit]:
        """At most one finding, on the line of the first example."""
        for side, count in self._longer.items():
            if self._compared >= _BIAS_MIN_EXAMPLES and count > self._compared * _BIAS_SHARE:
                share = 100 * count // self._compared
                message = (
                    f"{side} is much the longer side in {share} % of {self._compared:,} rows; balance the lengths."
                )
                yield LocatedHit(LENGTH_BIAS, self._first_line, Hit("", "", message))

    def notes(self) -> Iterable[str]:
        """None: the findings are complete."""
        return ()


def _length(output: object) -> int:
    if not isinstance(output, list):
        return 0
    return sum(len(text_of(message.get("content"))) for message in output if isinstance(message, dict))
