"""Cases of the checks in the section Chat."""

from __future__ import annotations

from tests.datasets.cases.material import LONG, OK, OTHER_NOTATIONS, Case, prefixed
from tests.datasets.rows import (
    asked,
    calling,
    chat,
    completion,
    function_call_row,
    jsonl,
    message,
    pair,
)

CASES: dict[str, list[Case]] = {
    "messages_missing": [
        Case(prefixed({"messages": []}), 2, "/messages", OK),
        Case(prefixed({"messages": "hi"}), 2, "/messages", OK),
    ],
    "message_not_an_object": [Case(prefixed({"messages": ["hi"]}), 2, "/messages/0", OK)],
    "role_missing": [Case(prefixed(chat({"content": "hi"}, message("assistant"))), 2, "/messages/0/role", OK)],
    "role_unknown": [
        Case(
            prefixed(chat(message("narrator"), message("assistant"))),
            2,
            "/messages/0/role",
            jsonl(chat(message("human"), message("gpt"))),
        ),
        Case(prefixed(chat(message("user"), {"role": ["x"], "content": "y"})), 2, "/messages/1/role", OK),
    ],
    "other_notation": [
        *(
            Case(prefixed(asked(**{key: value})), 2, f"/{key}", jsonl(asked(parallel_tool_calls=True)))
            for key, value in OTHER_NOTATIONS
        ),
        *(
            Case(
                prefixed(chat(message("user"), message("assistant", **{key: value}))),
                2,
                f"/messages/1/{key}",
                jsonl(chat(message("user"), message("assistant", weight=1))),
            )
            for key, value in (("train", True), ("masked", False), ("weight", "1"), ("tool_call", {"name": "f"}))
        ),
        Case(prefixed(chat(message("human"), message("assistant"))), 2, "/messages/0/role", OK),
        Case(
            prefixed({"messages": [{"from": "human", "value": "Why?"}, message("assistant")]}),
            2,
            "/messages/0/from",
            OK,
        ),
        Case(prefixed(chat(message("user", weight=0), message("assistant"))), 2, "/messages/0/weight", OK),
    ],
    "metadata_key": [
        Case(prefixed(asked(metadata={"a": 1})), 2, "/metadata", jsonl(asked(parallel_tool_calls=True))),
        Case(prefixed(asked(source="wiki")), 2, "/source", jsonl(asked(source="A whole page.\nIt is long."))),
        Case(
            prefixed(asked(LONG, note=LONG)),
            2,
            "/note",
            jsonl(asked(note="Another question.")),
        ),
        Case(prefixed(chat(message("user", **{"a/b": 1}), message("assistant"))), 2, "/messages/0/a~1b", OK),
        Case(jsonl(pair(), pair(id=1)), 2, "/id", jsonl(pair())),
        Case(jsonl(pair(), {**pair(), "input": {**pair()["input"], "x": 1}}), 2, "/input/x", jsonl(pair())),
        Case(jsonl(completion(), completion(id=1)), 2, "/id", jsonl(completion())),
    ],
    "reasoning_key": [
        Case(
            prefixed(chat(message("user"), message("assistant", **{key: "I see."}))),
            2,
            f"/messages/1/{key}",
            jsonl(chat(message("user"), message("assistant", **{key: ""}))),
        )
        for key in ("reasoning_content", "thinking")
    ],
    "unknown_key": [
        Case(prefixed(asked(context="Rome is warm.")), 2, "/context", jsonl(asked(parallel_tool_calls=True))),
        Case(prefixed(asked(label=False)), 2, "/label", jsonl(asked(id=7))),
        Case(prefixed(asked(images=["photos/a.png"])), 2, "/images", OK),
        Case(prefixed(chat(system="Be verbose.")), 2, "/system", jsonl(chat(system="Be brief."))),
        Case(jsonl(pair(), pair(context="Rome is warm.")), 2, "/context", jsonl(pair())),
    ],
    "message_unknown_key": [
        Case(
            prefixed(chat(message("user", **{"a/b": "What?"}), message("assistant"))),
            2,
            "/messages/0/a~1b",
            jsonl(chat(message("user", name="ann"), message("assistant", weight=1))),
        ),
        Case(prefixed(chat(message("user", train=True), message("assistant"))), 2, "/messages/0/train", OK),
        Case(prefixed(chat(message("user"), message("assistant", train=True, weight=0))), 2, "/messages/1/train", OK),
    ],
    "content_missing": [
        Case(prefixed(chat({"role": "user"}, message("assistant"))), 2, "/messages/0/content", jsonl(calling())),
        Case(prefixed(chat(message("user"), message("assistant", None))), 2, "/messages/1/content", OK),
    ],
    "content_type": [
        Case(
            prefixed(chat(message("user", 5), message("assistant"))),
            2,
            "/messages/0/content",
            jsonl(chat(message("user", [{"type": "text", "text": "Hi"}]), message("assistant"))),
        ),
        Case(prefixed(chat(message("user", [{"type": "text"}]), message("assistant"))), 2, "/messages/0/content/0", OK),
        Case(prefixed(chat(message("user", ["x"]), message("assistant"))), 2, "/messages/0/content/0", OK),
        Case(
            prefixed(chat(message("user", [{"type": "video"}]), message("assistant"))), 2, "/messages/0/content/0", OK
        ),
    ],
    "content_empty": [
        Case(
            prefixed(asked("Why?", "")),
            2,
            "/messages/1/content",
            jsonl(
                calling(after=[message("tool", "", tool_call_id="call_1"), message("assistant")]),
                chat(message("user"), message("function", " ", name="reset"), message("assistant")),
            ),
        ),
        Case(prefixed(asked(" \n\u3000")), 2, "/messages/0/content", jsonl(calling())),
        Case(prefixed(asked("Why?", [{"type": "text", "text": " "}])), 2, "/messages/1/content", OK),
    ],
    "assistant_missing": [Case(prefixed(chat(message("user"))), 2, "/messages", OK)],
    "nothing_trained": [
        Case(
            prefixed(chat(message("user"), message("assistant", weight=0))),
            2,
            "/messages",
            jsonl(chat(message("user"), message("assistant", weight=0), message("user"), message("assistant"))),
        )
    ],
    "weight_value": [
        Case(prefixed(chat(message("user"), message("assistant", weight=bad))), 2, "/messages/1/weight", good)
        for bad, good in ((0.5, OK), (2, OK), ("often", jsonl(chat(message("user"), message("assistant", weight=1)))))
    ],
    "weight_not_on_assistant": [
        Case(
            prefixed(chat(message("user", weight=1), message("assistant"))),
            2,
            "/messages/0/weight",
            jsonl(chat(message("user"), message("assistant", weight=1))),
        )
    ],
    "last_message_not_assistant": [
        Case(prefixed(chat(message("user"), message("assistant"), message("user"))), 2, "/messages/2/role", OK)
    ],
    "system_repeated": [
        Case(
            prefixed(chat(message("system"), message("system"), message("user"), message("assistant"))),
            2,
            "/messages/1/role",
            OK,
        )
    ],
    "system_not_first": [
        Case(prefixed(chat(message("user"), message("system"), message("assistant"))), 2, "/messages/1/role", OK)
    ],
    "user_missing": [Case(prefixed(chat(message("system"), message("assistant"))), 2, "/messages", OK)],
    "name_invalid": [
        Case(
            prefixed(chat(message("user", name="Ann B."), message("assistant"))),
            2,
            "/messages/0/name",
            jsonl(chat(message("user", name="Ann-B_2"), message("assistant"))),
        ),
        Case(
            prefixed(chat(message("user"), message("function"), message("assistant"))),
            2,
            "/messages/1/name",
            jsonl(function_call_row()),
        ),
    ],
}
