"""OpenAssistant: trees of messages, as nested `replies` or as one row for each message.

Of each tree one conversation is made: the best ranked reply to each message, as the openassistant-guanaco and "top 1"
datasets have it. Source of the shape: OpenAssistant's data schemas (`ExportMessageTree`, `ExportMessageNode`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

import msgspec

from service.datasets.shapes.registry import CannotConvert, Joined, LeftOut, NoText, Row, Shape, register
from service.datasets.shapes.turns import said

MAX_MESSAGES = 2_000_000
"""Rows of one file that are joined. The places of all are in memory, about 300 bytes for each."""

_ROLES = {"prompter": "user", "user": "user", "assistant": "assistant"}
_NOTE = "Of each tree the best ranked reply to every message is used; the other replies are in no example."
_STRUCTURE = frozenset({"role", "message_id", "parent_id", "message_tree_id", "rank", "deleted", "review_result"})


class _Node(NamedTuple):
    """The place of a message of the file, and what decides whether it is used."""

    id: str
    line: int
    offset: int
    role: str | None
    rank: float
    usable: bool


def _is_tree(row: Row) -> bool:
    prompt = row.get("prompt")
    return isinstance(prompt, dict) and isinstance(prompt.get("text"), str) and isinstance(prompt.get("replies"), list)


def _is_message(row: Row) -> bool:
    return "parent_id" in row and {"message_id", "text", "role"} <= row.keys() and str(row["role"]) in _ROLES


def _tree(row: Row) -> list[Row]:
    path = [row["prompt"]]
    while replies := [reply for reply in path[-1].get("replies") or [] if isinstance(reply, dict) and _usable(reply)]:
        path.append(min(replies, key=lambda reply: (not _leads_on(reply), _rank(reply))))
    while path and _ROLES.get(str(path[-1].get("role"))) != "assistant":
        path.pop()
    if not path:
        raise NoText("the tree has no answer")
    return [{"messages": [said(_ROLES.get(str(message.get("role"))) or "user", message["text"]) for message in path]}]


def _leads_on(reply: Row) -> bool:
    return _ROLES.get(str(reply.get("role"))) == "assistant" or any(map(_usable, reply.get("replies") or []))


def _usable(message: Any) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("text"), str) or not message["text"].strip():
        return False
    return not _is(message.get("deleted"), True) and not _is(message.get("review_result"), False)


def _is(value: Any, wanted: bool) -> bool:
    return value is wanted or (isinstance(value, str) and value.strip().lower() == str(wanted).lower())


def _rank(message: Row) -> float:
    try:
        return float(message.get("rank"))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("inf")


def _join(rows: Iterable[tuple[int, Row]], scratch: BinaryIO) -> Iterator[Joined | LeftOut]:
    """One conversation for each tree. The rows are on the scratch file; a parent may come after its replies."""
    nodes: dict[str, _Node] = {}
    replies: dict[str, list[str]] = {}
    roots: list[str] = []
    offset = 0
    for line, row in rows:
        if not _is_message(row) or not isinstance(row["message_id"], str):
            yield LeftOut(line, row, "it is no message with `message_id`, `parent_id`, `text` and `role`", True)
            continue
        id, parent = row["message_id"], row["parent_id"] or None
        if id in nodes:
            yield LeftOut(line, row, f"another row has the message_id {id[:64]}", True)
            continue
        if len(nodes) == MAX_MESSAGES:
            raise CannotConvert(f"The file has over {MAX_MESSAGES:,} messages of trees; split it between two trees")
        nodes[id] = _Node(id, line, offset, _ROLES.get(str(row["role"])), _rank(row), _usable(row))
        (roots if parent is None else replies.setdefault(parent, [])).append(id)
        offset += scratch.write(json.dumps(row).encode() + b"\n")
    scratch.flush()
    left_over = set(nodes)
    for root in roots:
        tree = _all_below(root, replies)
        left_over -= set(tree)
        yield from _conversation(root, tree, nodes, replies, scratch)
    for id in sorted(left_over, key=lambda each: nodes[each].line):
        row = _row_at(scratch, nodes[id])
        yield LeftOut(nodes[id].line, row, "the message to which it replies is not in the file", True)


def _conversation(
    root: str, tree: list[str], nodes: dict[str, _Node], replies: dict[str, list[str]], scratch: BinaryIO
) -> Iterator[Joined | LeftOut]:
    path = [nodes[root]] if nodes[root].usable else []
    while path and (usable := [nodes[id] for id in replies.get(path[-1].id, []) if nodes[id].usable]):
        path.append(min(usable, key=lambda node: (node.role == "user" and node.id not in replies, node.rank)))
    while path and path[-1].role != "assistant":
        path.pop()
    rows = [(node.line, _row_at(scratch, node)) for node in path]
    if rows:
        yield Joined(rows, {"messages": [said(_ROLES[row["role"]], row["text"]) for _, row in rows]})
    used = {node.id for node in path}
    for id in tree:
        if id not in used:
            reason = "Another reply is ranked better, or no answer follows." if nodes[id].usable else "It was removed."
            yield LeftOut(nodes[id].line, _row_at(scratch, nodes[id]), reason)


def _all_below(root: str, replies: dict[str, list[str]]) -> list[str]:
    found = [root]
    for id in found:
        found += replies.get(id, ())
    return found


def _row_at(scratch: BinaryIO, node: _Node) -> Row:
    scratch.seek(node.offset)
    row: Row = msgspec.json.decode(scratch.readline())
    return row


OASST = register(
    Shape(
        name="oasst",
        title="OpenAssistant's trees",
        keys="`prompt` with `replies`",
        format="chat",
        recognises=_is_tree,
        convert=_tree,
        structure=_STRUCTURE,
        note=_NOTE,
    )
)

OASST_MESSAGES = register(
    Shape(
        name="oasst_messages",
        title="OpenAssistant's messages",
        keys="`message_id`, `parent_id`, `text` and `role`",
        format="chat",
        recognises=_is_message,
        join=_join,
        in_tables=_is_message,
        structure=_STRUCTURE,
        note=_NOTE,
    )
)
