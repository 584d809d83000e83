"""A row whose keys are being moved: the copy that is changed, what was moved, and what could not be and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from service.datasets.parsing.decode import pointer_token
from service.datasets.parsing.formats import message_lists


class Move(NamedTuple):
    """A key or value that has a place: its pointer in the row as it was, and a sentence's part on what it becomes."""

    pointer: str
    key: str
    value: Any
    becomes: str


@dataclass
class Moving:
    """`row` is a copy down to the messages. `stuck` says by pointer why a key could not be moved.

    `drop` is the reason for which the row is not to be trained at all.
    """

    row: dict[str, Any]
    moves: list[Move] = field(default_factory=list)
    stuck: dict[str, str] = field(default_factory=dict)
    drop: str | None = None

    def moved(self, holder: dict[str, Any], pointer: str, key: str, becomes: str) -> None:
        """Remove a key from where it was and record what it becomes."""
        place = f"{pointer}/{pointer_token(key)}"
        self.moves.append(Move(place, key, holder.pop(key), becomes))

    def cannot(self, pointer: str, key: str, reason: str) -> None:
        """Record why a key stays."""
        self.stuck[f"{pointer}/{pointer_token(key)}"] = reason

    @property
    def main(self) -> tuple[str, dict[str, Any]]:
        """The object whose `messages` begin the conversation, the row or a preference row's input, with its pointer."""
        inner = self.row.get("input")
        if "messages" not in self.row and isinstance(inner, dict):
            return "/input", inner
        return "", self.row

    @property
    def conversation(self) -> list[Any] | None:
        """The messages that begin the conversation."""
        messages = self.main[1].get("messages")
        return messages if isinstance(messages, list) else None

    def messages(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every message that is an object, with its pointer in the row as it was (no message was added yet)."""
        for pointer, messages in message_lists(self.row):
            for index, message in enumerate(messages):
                if isinstance(message, dict):
                    yield f"{pointer}/{index}", message


def begin(row: dict[str, Any]) -> Moving:
    """A copy of a row in which rows, inputs, lists of messages and messages can be changed."""
    made = dict(row)
    if isinstance(made.get("input"), dict):
        made["input"] = dict(made["input"])
    for pointer, messages in list(message_lists(made)):
        copied = [dict(message) if isinstance(message, dict) else message for message in messages]
        if pointer == "/input/messages":
            made["input"]["messages"] = copied
        else:
            made[pointer[1:]] = copied
    return Moving(made)
