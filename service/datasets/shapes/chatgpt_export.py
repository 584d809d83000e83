"""ChatGPT's data export (`conversations.json`): each conversation is a tree of messages under `mapping`.

The branch that ends in `current_node` is converted; answers that were replaced by another are not, and are counted as
unused. Source of the shape: the archives that ChatGPT's "Export data" sends.
"""

from __future__ import annotations

from service.datasets.shapes.building import any_object, example, message, no_place, text_part
from service.datasets.shapes.registry import CannotConvert, Row, Shape, register

_ROLES = ("system", "user", "assistant")
_MAX_NODES = 100_000


def _recognises(row: Row) -> bool:
    mapping = row.get("mapping")
    first = next(iter(mapping.values()), None) if isinstance(mapping, dict) else None
    return isinstance(first, dict) and ("children" in first or "parent" in first)


def _branch(row: Row) -> list[Row]:
    """The nodes from the first message to the current one."""
    mapping = row["mapping"]
    node = mapping.get(str(row.get("current_node")))
    if node is None:
        node = next((each for each in reversed(mapping.values()) if isinstance(each, dict)), None)
    branch: list[Row] = []
    while isinstance(node, dict):
        branch.append(node)
        if len(branch) > min(len(mapping), _MAX_NODES):
            raise CannotConvert("the messages of `mapping` follow one another in a circle")
        node = mapping.get(str(node.get("parent")))
    return branch[::-1]


def _convert(row: Row) -> list[Row]:
    made: list[Row] = []
    for node in _branch(row):
        given = node.get("message")
        if isinstance(given, dict):
            made.extend(_messages(given))
    return example(made)


def _messages(given: Row) -> list[Row]:
    author, content = given.get("author"), given.get("content")
    role = author.get("role") if isinstance(author, dict) else None
    if not isinstance(content, dict):
        return []
    parts = content.get("parts")
    kind = content.get("content_type")
    if isinstance(parts, list) and any(isinstance(part, dict) for part in parts):
        name = next(iter(any_object(parts)), {}).get("content_type")
        raise CannotConvert(f"a message contains {str(name)[:80]}, whose bytes are not in the export")
    texts = [part for part in parts if isinstance(part, str) and part] if isinstance(parts, list) else []
    if kind != "text" or role not in _ROLES:
        if not texts and kind == "text":
            return []
        raise no_place(f"a message of {role} with {kind}")
    return [message(role, [text_part(text) for text in texts])] if texts else []


CHATGPT_EXPORT = register(
    Shape(
        name="chatgpt_export",
        title="ChatGPT's data export",
        keys="`mapping` with `message`, `parent` and `children`",
        format="chat",
        recognises=_recognises,
        convert=_convert,
        structure=frozenset({"id", "role", "content_type", "parent", "children", "current_node"}),
    )
)
