"""Keys of a message that other tools name differently: its role and content, and whether it is trained."""

from __future__ import annotations

from typing import Any

from service.datasets.other_keys.moving import Move, Moving
from service.datasets.other_keys.names import known_role, plain_name
from service.datasets.other_keys.texts import text_in
from service.datasets.parsing.formats import ROLES

_CONTENT_NAMES = frozenset({"text", "value", "parts", "message", "utterance"})
_ROLE_NAMES = frozenset({"from", "author", "speaker", "sender"})
TRAINED_IF_TRUE = frozenset({
    "train", "trainable", "trained", "training", "train_on_turn",
    "train_on", "is_trained", "is_trainable", "do_train", "loss",
    "loss_mask", "has_loss", "calculate_loss", "compute_loss", "learn",
})  # fmt: skip
TRAINED_IF_FALSE = frozenset({
    "mask", "masked", "is_masked", "mask_loss", "ignore", "ignored",
    "no_loss", "no_train", "exclude_from_loss", "exclude_from_training",
})  # fmt: skip
"""Sources: axolotl (`train`, `training`), torchtune (`masked`), NeMo and verl (`loss_mask`, 1 for trained)."""

NAMES = _CONTENT_NAMES | _ROLE_NAMES | TRAINED_IF_TRUE | TRAINED_IF_FALSE
_TRUE, _FALSE = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")


def truth(value: Any) -> bool | None:
    """True or false as a boolean, the number 1 or 0, or their names; None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return bool(value) if value in (0, 1) else None
    name = value.strip().lower() if isinstance(value, str) else ""
    return True if name in _TRUE else False if name in _FALSE else None


def rename_parts(moving: Moving) -> None:
    """Role and content of every message, if they have other names."""
    for pointer, message in moving.messages():
        for key in list(message):
            name = plain_name(key)
            if name in _ROLE_NAMES:
                _rename_role(moving, pointer, message, key)
            elif name in _CONTENT_NAMES:
                _rename_content(moving, pointer, message, key)
        role = message.get("role")
        known = known_role(role)
        if role not in ROLES and known is not None:
            moving.moves.append(Move(f"{pointer}/role", "role", role, f"the role {known}"))
            message["role"] = known


def _rename_role(moving: Moving, pointer: str, message: dict[str, Any], key: str) -> None:
    value = message[key]
    role = known_role(value.get("role") if isinstance(value, dict) and value.keys() <= {"role", "name"} else value)
    if role is None or (isinstance(value, dict) and value.get("name")):
        return
    if message.get("role") is None:
        moving.moved(message, pointer, key, f"the role {role}")
        message["role"] = role
    elif known_role(message["role"]) == role:
        moving.moved(message, pointer, key, "what the role says already")


def _rename_content(moving: Moving, pointer: str, message: dict[str, Any], key: str) -> None:
    value, content = message[key], message.get("content")
    text = text_in(value)
    if text is None or not text.strip():
        return
    if content is None or content == "":
        moving.moved(message, pointer, key, "the content")
        message["content"] = text
    elif content in (text, value):
        moving.moved(message, pointer, key, "what the content says already")
    else:
        moving.cannot(pointer, key, "the message has another content")


def set_weights(moving: Moving) -> None:
    """Write as `weight` 0 or 1 whether a message is trained. What says that another role's is not, is always so."""
    for pointer, message in moving.messages():
        flags = {key: wanted for key in message if (wanted := _wanted(key, message[key])) is not None}
        if not flags:
            continue
        weight = message.get("weight")
        if weight is not None and truth(weight) is None:
            for key in flags:
                moving.cannot(pointer, key, "the message has a weight that is neither 0 nor 1")
            continue
        if len(set(flags.values())) > 1:
            for key in flags:
                moving.cannot(pointer, key, "the message says both that it is trained and that it is not")
            continue
        trained = next(iter(flags.values()))
        assistant = message.get("role") == "assistant"
        for key in [key for key in flags if key != "weight" or _is_written_otherwise(message[key])]:
            if assistant:
                moving.moved(message, pointer, key, f"weight {int(trained)}")
            elif not trained:
                moving.moved(message, pointer, key, "what holds for the role anyway: it is not trained")
            elif key != "weight":
                moving.cannot(pointer, key, "it says that a message is trained, but only those of the assistant can be")
        if assistant and message.get("weight") is None:
            message["weight"] = int(trained)
        if not assistant and not trained and "weight" in message:
            moving.moved(message, pointer, "weight", "what holds for the role anyway: it is not trained")


def has_other_weight(message: dict[str, Any]) -> bool:
    """Whether a weight is to be rewritten: it is not a number, or it is 0 where nothing is trained."""
    value = message.get("weight")
    if value is None or truth(value) is None:
        return False
    return _is_written_otherwise(value) or (message.get("role") != "assistant" and truth(value) is False)


def _wanted(key: str, value: Any) -> bool | None:
    name = plain_name(key)
    said = truth(value)
    if said is None:
        return None
    if name == "weight" or name in TRAINED_IF_TRUE:
        return said
    return not said if name in TRAINED_IF_FALSE else None


def _is_written_otherwise(weight: Any) -> bool:
    return isinstance(weight, (bool, str)) and truth(weight) is not None
