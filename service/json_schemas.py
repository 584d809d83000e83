"""Limits on the JSON Schemas that callers write, checked before anything compiles or evaluates one. Pure.

A schema costs in ways that its size does not show: patterns become automata, and references can double at every step,
so that two kilobytes stand for billions of subschemas. Everything here is counted in time proportional to the schema's
bytes. Recursion through an answer's own depth cannot be counted from the schema alone: the processor time of each
evaluation is limited too (`service/processes/guard.py`). References out of a schema lead nowhere: the validators fetch
nothing, and refuse them.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

import msgspec

MAX_SCHEMA_BYTES = 256 * 1024
MAX_DEPTH = 100
MAX_SUBSCHEMAS = 20_000
MAX_NAME_CHARS = 1_000
"""Characters of a name or an `$id`: pointers and addresses repeat them for everything below."""

MAX_EXPANDED = 1_000_000
MAX_PATTERNS = 200
MAX_PATTERN_CHARS = 20_000
MAX_PATTERN_STEPS = 20_000
"""The sum over all patterns of their characters, each as often as the counted repeats around it."""

UNICODE_CLASS_STEPS = 25
"""What a class such as `\\pL` counts: its automaton is that much larger than a character's (measured)."""

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_ANCHORS = ("$anchor", "$dynamicAnchor")
_DEFINITIONS = ("/$defs", "/definitions")
"""What stands here counts only where it is referred to."""

_CLASS = re.compile(r"\[\^?\]?(?:[^\]\\]|\\.)*\]|\\(?:[pP]\{[^}]*\}|[pP].|x\{[^}]*\}|u\{[^}]*\}|.)", re.DOTALL)
_REPEAT = re.compile(r"\{\s*(\d{1,9})\s*(?:(,)\s*(\d{0,9})\s*)?\}")


class _Exceeded(Exception):
    """The argument says which limit, and where."""


def limit_exceeded(schema: object) -> str | None:
    """The limit that a schema exceeds and the place, as a sentence about "it" (the schema); None if it exceeds none."""
    try:
        size_bytes = len(msgspec.json.encode(schema))
        if size_bytes > MAX_SCHEMA_BYTES:
            raise _Exceeded(f"it has {size_bytes:,} bytes; at most {MAX_SCHEMA_BYTES:,} are allowed.")
        nodes = _Nodes(schema)
        _check_patterns(nodes)
        _check_expansion(nodes)
    except _Exceeded as exceeded:
        return str(exceeded)
    except (RecursionError, msgspec.MsgspecError, TypeError, ValueError):
        return f"it is nested too deep or cannot be read as JSON; at most {MAX_DEPTH} levels are allowed."
    return None


def pattern_steps(pattern: str) -> int:
    """The characters of a pattern, each counted as often as the counted repeats around it, `{m,n}` as n times.

    It is an estimate of the automaton's size. A pattern that is not well-formed has some number too.
    """
    total = atom = at = 0
    groups: list[int] = []
    last_bracket = pattern.rfind("]")
    while at < len(pattern):
        begins_class = pattern[at] == "\\" or (pattern[at] == "[" and at < last_bracket)
        if begins_class and (found := _CLASS.match(pattern, at)):
            atom = UNICODE_CLASS_STEPS if "\\p" in found[0] or "\\P" in found[0] else 1
            total, at = total + atom, found.end()
        elif pattern[at] == "(":
            groups.append(total)
            at += 1
        elif pattern[at] == ")":
            atom, at = total - (groups.pop() if groups else 0), at + 1
        elif found := _REPEAT.match(pattern, at):
            times = max(int(found[1]), int(found[3] or 0))
            total, atom, at = total + atom * max(0, times - 1), atom * max(1, times), found.end()
        else:
            total, atom, at = total + 1, 1, at + 1
    return total


class _Nodes:
    """Every object in a schema by its pointer: each may be a subschema, wherever a reference finds it."""

    def __init__(self, schema: object) -> None:
        self.at: dict[str, Any] = {}
        self.children: dict[str, list[str]] = {}
        self.anchors: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        self.base = schema["$id"] if isinstance(schema, dict) and isinstance(schema.get("$id"), str) else ""
        stack: list[tuple[str, Any, int]] = [("", schema, 0)]
        while stack:
            pointer, value, depth = stack.pop()
            if depth > MAX_DEPTH:
                raise _Exceeded(f"it is nested too deep; at most {MAX_DEPTH} levels are allowed (at {_cut(pointer)}).")
            self.at[pointer] = value
            if len(self.at) > MAX_SUBSCHEMAS:
                raise _Exceeded(f"it has more than {MAX_SUBSCHEMAS:,} objects and lists.")
            items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            if isinstance(value, dict) and any(len(name) > MAX_NAME_CHARS for name in value):
                raise _Exceeded(f"a name in it has more than {MAX_NAME_CHARS:,} characters (at {_cut(pointer)}).")
            inner = [(f"{pointer}/{_escaped(name)}", each) for name, each in items if isinstance(each, (dict, list))]
            self.children[pointer] = [place for place, _ in inner]
            stack += [(place, each, depth + 1) for place, each in inner]
            if isinstance(value, dict):
                self._name(pointer, value)

    def references(self, pointer: str) -> Iterator[str]:
        """The pointers that an object refers to."""
        value = self.at[pointer]
        if isinstance(value, dict):
            for keyword in _REFERENCES:
                reference = value.get(keyword)
                if isinstance(reference, str) and (target := self._target(reference)) is not None:
                    yield target

    def _name(self, pointer: str, value: dict[str, Any]) -> None:
        for keyword in _ANCHORS:
            if isinstance(value.get(keyword), str):
                self.anchors[value[keyword]] = pointer
        if isinstance(value.get("$id"), str):
            if len(value["$id"]) > MAX_NAME_CHARS:
                raise _Exceeded(f"an $id in it has more than {MAX_NAME_CHARS:,} characters (at {_cut(pointer)}).")
            self.ids[urldefrag(urljoin(self.base, value["$id"])).url] = pointer

    def _target(self, reference: str) -> str | None:
        """The pointer that a reference leads to; None where there is nothing, which the validator reports."""
        document, fragment = urldefrag(urljoin(self.base, reference))
        root: str | None = ""
        if not reference.startswith("#") and document != urldefrag(self.base).url:
            root = self.ids.get(document)
        if root is None:
            return None
        if fragment and not fragment.startswith("/"):
            return self.anchors.get(fragment)
        pointer = f"{root}{unquote(fragment)}"
        return pointer if pointer in self.at else None


def _check_patterns(nodes: _Nodes) -> None:
    count = chars = steps = 0
    for pointer, pattern in _patterns(nodes):
        count, chars = count + 1, chars + len(pattern)
        if count <= MAX_PATTERNS and chars <= MAX_PATTERN_CHARS:
            steps += pattern_steps(pattern)
        for what, value, limit in (
            ("patterns", count, MAX_PATTERNS),
            ("characters of patterns", chars, MAX_PATTERN_CHARS),
            ("steps in its patterns, counting repeats", steps, MAX_PATTERN_STEPS),
        ):
            if value > limit:
                raise _Exceeded(f"it has more than {limit:,} {what} (at {_cut(pointer)}).")


def _patterns(nodes: _Nodes) -> Iterator[tuple[str, str]]:
    for pointer, value in nodes.at.items():
        if isinstance(value, dict):
            if isinstance(value.get("pattern"), str):
                yield f"{pointer}/pattern", value["pattern"]
            if isinstance(by_pattern := value.get("patternProperties"), dict):
                yield from ((f"{pointer}/patternProperties", pattern) for pattern in by_pattern)


def _check_expansion(nodes: _Nodes) -> None:
    """Count subschemas with references replaced by what they lead to; one that leads back into itself counts as one.

    Each object is counted once and its number remembered, by an explicit stack since chains of references can be long.
    """
    sizes: dict[str, int] = {}
    entered: set[str] = set()
    stack = [("", False)]
    while stack:
        pointer, counted = stack.pop()
        if pointer in sizes:
            continue
        inner = nodes.children[pointer]
        following = [*(inner if pointer else set(inner).difference(_DEFINITIONS)), *nodes.references(pointer)]
        if not counted:
            if pointer not in entered:
                entered.add(pointer)
                stack.append((pointer, True))
                stack += [(each, False) for each in following if each not in entered]
            continue
        sizes[pointer] = 1 + sum(sizes.get(each, 1) for each in following)
        if sizes[pointer] > MAX_EXPANDED:
            raise _Exceeded(
                f"it stands for more than {MAX_EXPANDED:,} subschemas once its references are followed "
                f"(at {_cut(pointer)})."
            )


def _escaped(name: object) -> str:
    return str(name).replace("~", "~0").replace("/", "~1")


def _cut(text: str) -> str:
    return (text if len(text) <= 120 else f"{text[:119]}…") or "/"
