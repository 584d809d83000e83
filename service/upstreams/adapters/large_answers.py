"""Reads answers with more values than are decoded: those with the alternatives of each token (`logprobs`). Pure.

An answer of 16,000 tokens with 20 alternatives each has 2.4 million values. To decode them takes a second or two and
300 MB, and nothing here reads them. So the known fields are decoded, the alternatives are passed on as they are, and
fields that OpenAI's API does not have are left out.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from service import json_limits
from service.json_limits import JsonLimitExceeded

MAX_LARGE_VALUES = 4_000_000
MAX_CHOICES = 2_048

Field = Raw | UnsetType


class _Choice(msgspec.Struct):
    index: Field = UNSET
    message: Field = UNSET
    text: Field = UNSET
    finish_reason: Field = UNSET
    logprobs: Field = UNSET
    content_filter_results: Field = UNSET


class _Answer(msgspec.Struct):
    choices: Annotated[list[_Choice], msgspec.Meta(max_length=MAX_CHOICES)]
    id: Field = UNSET
    object: Field = UNSET
    created: Field = UNSET
    model: Field = UNSET
    usage: Field = UNSET
    system_fingerprint: Field = UNSET
    service_tier: Field = UNSET
    prompt_filter_results: Field = UNSET


def read_large_answer(content: bytes | bytearray) -> tuple[dict[str, Any], int]:
    """The answer, whose `logprobs` are not decoded, and the number of its decoded values.

    Raises `JsonLimitExceeded`, also for an answer that has no `choices`.
    """
    json_limits.check(content, max_values=MAX_LARGE_VALUES)
    try:
        answer = msgspec.json.decode(content, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise JsonLimitExceeded(f"it has more than {json_limits.MAX_VALUES:,} values beside its choices") from None
    choices = [_fields(choice) for choice in answer.choices]
    fields = _fields(answer)
    left = json_limits.MAX_VALUES
    for part in (fields, *choices):
        for name, raw in part.items():
            if name != "logprobs":
                left -= json_limits.check(bytes(raw), max_values=left)
                part[name] = msgspec.json.decode(raw)
    return {**fields, "choices": choices}, json_limits.MAX_VALUES - left


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    values = {name: getattr(struct, name) for name in struct.__struct_fields__ if name != "choices"}
    return {name: value for name, value in values.items() if value is not UNSET}
