"""ShareGPT: `{"conversations": [{"from": "human", "value": …}, {"from": "gpt", "value": …}], "system": …}`.

Source of the shape: the datasets of FastChat and Vicuna, and the documentation of LLaMA-Factory, which names its
variants (`conversation`, `system`, `tools`, the roles `observation` and `function_call`).
"""

from __future__ import annotations

from typing import Any

from service.datasets.shapes.registry import CannotConvert, Row, Shape, register

_LISTS = ("conversations", "conversation")
_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant",
    "bard": "assistant", "assistant": "assistant", "model": "assistant", "bot": "assistant", "system": "system",
}  # fmt: skip


def _turns(row: Row) -> list[Any] | None:
    for key in _LISTS:
        turns = row.get(key)
        if isinstance(turns, list) and turns:
            return turns
    return None


def _recognises(row: Row) -> bool:
    turns = _turns(row)
    first = turns[0] if turns else None
    return isinstance(first, dict) and "from" in first and "value" in first


def _convert(row: Row) -> list[Row]:
    messages: list[Row] = []
    system = row.get("system")
    if isinstance(system, str) and system.strip():
        messages.append({"role": "system", "content": system})
    for number, turn in enumerate(_turns(row) or [], start=1):
        role = _ROLES.get(str(turn.get("from")).lower()) if isinstance(turn, dict) else None
        if role is None or not isinstance(turn.get("value"), str):
            raise CannotConvert(f"turn {number} needs a known `from` (human, gpt, system) and a text in `value`")
        messages.append({"role": role, "content": turn["value"]})
    return [{"messages": messages}]


SHAREGPT = register(
    Shape(
        name="sharegpt",
        title="ShareGPT",
        keys="`conversations` with `from` and `value`",
        format="chat",
        recognises=_recognises,
        convert=_convert,
        structure=frozenset({"from"}),
    )
)
