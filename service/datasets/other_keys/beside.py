"""What other tools write beside the messages: a system prompt, earlier turns, whether the row is trained."""

from __future__ import annotations

from typing import Any

from service.datasets.other_keys.messages import truth
from service.datasets.other_keys.moving import Moving
from service.datasets.other_keys.names import known_role, plain_name
from service.datasets.other_keys.texts import text_in

_SYSTEM_NAMES = frozenset({"system", "system_prompt", "system_message", "system_instruction", "system_instructions"})
_HISTORY_NAMES = frozenset({"history", "chat_history", "conversation_history"})
_TRAINED_NAMES = frozenset({"train", "trainable", "training", "weight"})
NAMES = _SYSTEM_NAMES | _HISTORY_NAMES | _TRAINED_NAMES


def move_beside(moving: Moving) -> None:
    """Earlier turns first, then the system prompt, so that it comes before them."""
    messages = moving.conversation
    if messages is None:
        return
    main = moving.main
    places = [main] if main[1] is moving.row else [("", moving.row), main]
    for pointer, holder in places:
        for key in list(holder):
            if plain_name(key) in _HISTORY_NAMES and holder[key]:
                _add_history(moving, pointer, holder, key, messages)
    for pointer, holder in places:
        for key in list(holder):
            if plain_name(key) in _SYSTEM_NAMES and holder[key]:
                _add_system(moving, pointer, holder, key, messages)
            elif plain_name(key) in _TRAINED_NAMES and holder is moving.row and main[1] is moving.row:
                _read_flag(moving, holder, key)


def _add_system(moving: Moving, pointer: str, holder: dict[str, Any], key: str, messages: list[Any]) -> None:
    text = text_in(holder[key])
    if text is None:
        moving.cannot(pointer, key, "it is no text and no list of texts")
        return
    if not text.strip():
        return
    present = [
        each for each in messages if isinstance(each, dict) and known_role(each.get("role")) in ("system", "developer")
    ]
    if not present:
        moving.moved(holder, pointer, key, "the first system message")
        messages.insert(0, {"role": "system", "content": text})
    elif any(text.strip() in (text_in(each.get("content")) or "") for each in present):
        moving.moved(holder, pointer, key, "what a system message says already")
    else:
        moving.cannot(pointer, key, "the messages have another system message; join the two")


def _add_history(moving: Moving, pointer: str, holder: dict[str, Any], key: str, messages: list[Any]) -> None:
    turns = _turns(holder[key])
    if turns is None:
        moving.cannot(pointer, key, "it is no list of [question, answer] pairs or of messages")
        return
    at = next((at for at, each in enumerate(messages) if not _is_system(each)), len(messages))
    if messages[at : at + len(turns)] == turns:
        moving.moved(holder, pointer, key, "what the first messages say already")
        return
    moving.moved(holder, pointer, key, "earlier messages")
    messages[at:at] = turns


def _turns(value: Any) -> list[dict[str, Any]] | None:
    made: list[dict[str, Any]] = []
    for each in value if isinstance(value, list) else [None]:
        if isinstance(each, list) and len(each) == 2 and all(isinstance(text, str) for text in each):
            made += [{"role": "user", "content": each[0]}, {"role": "assistant", "content": each[1]}]
        elif isinstance(each, dict) and each.keys() == {"role", "content"} and known_role(each["role"]) is not None:
            made.append({"role": known_role(each["role"]), "content": each["content"]})
        else:
            return None
    return made


def _is_system(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") in ("system", "developer")


def _read_flag(moving: Moving, row: dict[str, Any], key: str) -> None:
    said = truth(row[key])
    if said is None:
        if row[key] is not None and not isinstance(row[key], (list, dict)):
            moving.cannot("", key, "only 1 and 0 are known, for a row that is trained or not")
        return
    moving.moved(row, "", key, "what holds for every row: it is trained" if said else "a row that is left out")
    if not said:
        moving.drop = f"`{key}` says that the row is not trained."
